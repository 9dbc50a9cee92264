"""What is published and stored of a plan, and that a plan which was cut short is carried out again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import Transient
from schemas.products import first_id
from schemas.topics import PRODUCTS, topics_for
from tests.contract.backends import locked_file
from tests.workers.indexer.hash_topic import EPOCH, stream_at
from tests.workers.products.running import published, sent
from workers.products.keeping import Keeper
from workers.products.naming import Book, Changes
from workers.stores import Store, build_store
from workers.streams import Producer, Stream, TopicSpec
from workers.watching.declared import registry_of

TIMES = {"a": 1_700_000_000_000_001, "b": 1_700_000_000_000_002}


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    made = stream_at(tmp_path)
    admin = made.admin()
    topic = next(one for one in topics_for(EPOCH) if one.name == PRODUCTS)
    admin.ensure_topics([TopicSpec(topic.name, topic.partitions, True, topic.retention_ms)])
    admin.close()
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(build_store(f"sqlite://{tmp_path}/store.db")) as made:
        yield made


@pytest.fixture
def producer(stream: Stream) -> Iterator[Producer]:
    with closing(stream.producer()) as made:
        yield made


def counted(change: str) -> float:
    return registry_of("products").get_sample_value("groknet_product_changes_total", {"change": change}) or 0.0


def test_every_change_is_published_stored_and_counted(stream: Stream, store: Store, producer: Producer) -> None:
    keeper, book = Keeper(store, producer), Book()
    before = {change: counted(change) for change in ("joined", "moved", "left", "merged", "ended")}

    def keep(groups: list[str], gone: dict[str, int]) -> None:
        changes = book.named(groups, TIMES, gone)
        keeper.keep(book, changes, gone)
        book.take(changes)

    keep(["a", "b"], {})
    assert {name: one.product_id for name, one in published(stream).items()} == {
        name: first_id(name, time) for name, time in TIMES.items()
    }
    keep(["ab"], {})
    assert {one.product_id for one in published(stream).values()} == {first_id("a", TIMES["a"])}
    assert store.members(first_id("a", TIMES["a"])) == ["a", "b"]
    keep([], {"a": 9, "b": 9})
    assert (published(stream), list(store.all_memberships()), list(store.all_products())) == ({}, [], [])
    after = {change: counted(change) - before[change] for change in before}
    assert after == {"joined": 2, "moved": 1, "left": 2, "merged": 1, "ended": 2}


def test_no_change_costs_no_message(stream: Stream, store: Store, producer: Producer) -> None:
    Keeper(store, producer).keep(Book(), Changes(), {})
    assert sent(stream) == 0


def test_a_store_that_is_away_leaves_the_plan_to_be_made_again(
    stream: Stream, producer: Producer, tmp_path: Path
) -> None:
    with closing(build_store(f"sqlite://{tmp_path}/own.db")) as own:
        own._writer._db.execute("PRAGMA busy_timeout = 50")  # type: ignore[attr-defined]
        keeper, book = Keeper(own, producer), Book()
        changes = book.named(["ab"], TIMES)
        with locked_file(tmp_path / "own.db"), pytest.raises(Transient):
            keeper.keep(book, changes, {})
        assert book.named(["ab"], TIMES).memberships == changes.memberships
        keeper.keep(book, changes, {})
        assert own.members(first_id("a", TIMES["a"])) == ["a", "b"]
        assert len(published(stream)) == 2


class Slow:
    """The producer itself, whose deliveries are waited for in vain several times."""

    def __init__(self, producer: Producer, times: int) -> None:
        self._producer, self._times = producer, times

    def send(self, *args: Any) -> Any:
        delivery, left = self._producer.send(*args), [self._times]

        class Delivery:
            def wait(self, timeout_s: float) -> None:
                left[0] -= 1
                if left[0] >= 0:
                    raise Transient("stream", "delivery_timeout", f"not within {timeout_s} s")
                delivery.wait(timeout_s)

        return Delivery()


def test_heartbeats_go_on_while_a_delivery_takes_long_and_many_rows_are_written(
    stream: Stream, store: Store, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.products.keeping._ROWS", 2)
    beats: list[int] = []
    slow: Any = Slow(producer, times=3)
    keeper, book = Keeper(store, slow, lambda: beats.append(1)), Book()
    names = [f"l{number}" for number in range(5)]
    changes = book.named([[name] for name in names], dict.fromkeys(names, 1_700_000_000_000_000))
    keeper.keep(book, changes, {})
    assert len(beats) == 5 * 4 + 3 + 3, "four waits of each delivery, three calls for products, three for memberships"
    assert {one.listing_id for one in store.all_memberships()} == published(stream).keys() == set(names)
