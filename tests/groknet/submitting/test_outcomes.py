"""Waiting for a removal: an index that has not come so far yet is not one that the listing is gone from."""

from __future__ import annotations

from pathlib import Path

from groknet.submitting.outcomes import Indexed, IndexView
from tests.workers.indexer.hash_topic import BASE_US, Publisher, message, stream_at
from tests.workers.indexer.running import running, until


def test_gone_from_an_index_is_told_from_not_there_yet(tmp_path: Path) -> None:
    stream = stream_at(tmp_path)
    with Publisher(stream) as publisher, running(stream, tmp_path) as indexer:
        view = IndexView(lambda: [indexer.server.url])
        assert view.of("a/1") == Indexed(held=0, removed=0)
        publisher.put(message("a/1", 10, {"a": "0" * 64}))
        publisher.flush()
        until(lambda: view.of("a/1") == Indexed(held=BASE_US + 10, removed=0))
        publisher.put(message("a/1", 15, {}))
        publisher.flush()
        until(lambda: view.of("a/1") == Indexed(held=0, removed=BASE_US + 15))  # its event names no photo
        publisher.remove("a/1", 20)
        publisher.flush()
        until(lambda: view.of("a/1") == Indexed(held=0, removed=BASE_US + 20))
