"""A products worker in a process of its own, so that a test can kill it: python -m … HOME."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import closing
from pathlib import Path

from tests.workers.indexer.hash_topic import EPOCH, stream_at
from workers.http.serving import Health
from workers.products import ProductsSettings, build_products
from workers.stores import build_store

SETTINGS = ProductsSettings(poll_interval_s=0.01, radius_bits=10, most_copies=5, batch=3)


def main(home: Path) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with closing(build_store(f"sqlite://{home}/store.db")) as store:
        stream, health = stream_at(home), Health()
        worker = build_products(SETTINGS, stream=stream, store=store, epoch=EPOCH, health=health, owner="one")
        print("begins", flush=True)
        worker.run(stop)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
