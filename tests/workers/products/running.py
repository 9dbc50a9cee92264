"""A products worker in threads of the test's own process, and what its topic says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from schemas.envelope import header
from schemas.hashes import EVENT_TIME_HEADER
from schemas.products import ProductMessage, decode_product
from schemas.topics import PRODUCTS
from tests.workers.indexer.hash_topic import EPOCH
from tests.workers.indexer.running import until
from workers.http.serving import Health
from workers.products import ProductsSettings, build_products
from workers.stores import Store
from workers.streams import Stream


@contextmanager
def running(
    stream: Stream,
    store: Store,
    epoch: str = EPOCH,
    *,
    owner: str = "one",
    waits: bool = False,
    health: Health | None = None,
    **settings: Any,
) -> Iterator[Health]:
    """A worker that has caught up once, or that `waits` for another one; stopped afterwards. What ends it early is
    raised."""
    chosen = ProductsSettings(**({"poll_interval_s": 0.01, "batch": 7} | settings))
    health, stop = health or Health(), threading.Event()
    worker = build_products(chosen, stream=stream, store=store, epoch=epoch, health=health, owner=owner)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            worker.run(stop)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        until(lambda: (bool(health.waiting_for.endswith("this store")) if waits else health.ready) or bool(failures))
        yield health
    finally:
        stop.set()
        thread.join(30)
        assert failures == []


def published(stream: Stream) -> dict[str, ProductMessage]:
    """The newest message of each listing, as a compacted topic has it."""
    newest: dict[str, ProductMessage] = {}
    admin = stream.admin()
    for record in admin.read(PRODUCTS):
        assert record.key is not None
        name = record.key.decode()
        if record.value is None:
            assert header(record.headers, EVENT_TIME_HEADER) is not None
            newest.pop(name, None)
        else:
            newest[name] = decode_product(record.value)
            assert newest[name].listing_id == name
    admin.close()
    return newest


def sent(stream: Stream) -> int:
    """How many messages the topic has."""
    admin = stream.admin()
    count = sum(admin.end_offsets(PRODUCTS).values()) if PRODUCTS in admin.topics() else 0
    admin.close()
    return count
