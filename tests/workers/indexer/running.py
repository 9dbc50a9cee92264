"""An indexer in threads of the test's own process, and how to wait and to read a metric."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import urllib3

from tests.workers.indexer.hash_topic import EPOCH
from workers.http.serving import Health, Server, serve
from workers.indexer import IndexerSettings, build_indexer
from workers.streams import Stream
from workers.watching.declared import registry_of

HTTP = urllib3.PoolManager(retries=False, timeout=10)
POLL_S = 0.01


class Running:
    """An indexer in threads of this process."""

    def __init__(self, stream: Stream, home: Path, epoch: str = EPOCH, **settings: Any) -> None:
        self._epoch = epoch
        self.health = Health()
        chosen = IndexerSettings(**({"poll_interval_s": POLL_S} | settings))
        self._indexer = build_indexer(chosen, stream=stream, epoch=epoch, home=home, health=self.health)
        self.server: Server = serve(self._indexer.app, "127.0.0.1", 0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._indexer.run, args=(self._stop,))

    def run(self) -> None:
        """The loop, in the caller's thread."""
        self._indexer.run(self._stop)

    def start(self) -> None:
        self._thread.start()
        until(lambda: self.health.ready)

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(30)
        self.server.stop()

    def get(self, path: str) -> tuple[int, Any]:
        answer = HTTP.request("GET", self.server.url + path)
        return answer.status, json.loads(answer.data)

    def ask(self, **query: Any) -> tuple[int, Any]:
        answer = HTTP.request("POST", self.server.url + "/v1/neighbours", json={"epoch": self._epoch, "k": 10} | query)
        return answer.status, json.loads(answer.data)


@contextmanager
def running(stream: Stream, home: Path, **settings: Any) -> Iterator[Running]:
    indexer = Running(stream, home, **settings)
    try:
        indexer.start()
        yield indexer
    finally:
        indexer.stop()


def until(true: Callable[[], bool]) -> None:
    """Wait for it, 30 s at most."""
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


def counted(name: str, **labels: str) -> float:
    """The value of a series of an indexer or of a search service; 0 without one."""
    values = (registry_of(worker).get_sample_value(name, labels) for worker in ("indexer", "search"))
    return next((value for value in values if value is not None), 0.0)
