"""Requests leave nothing behind that only the collector of cyclic garbage would find."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

import pytest
from cassandra.cluster import ResponseFuture  # type: ignore[import-untyped]

from workers.stores.cassandra import CassandraStore

REQUESTS = 40
PATIENCE_S = 15.0  # the driver drops a cancelled timer when the timers before it are through, 2 s at most


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def futures() -> int:
    return sum(type(one) is ResponseFuture for one in gc.get_objects())  # isinstance asks others for their class


@pytest.mark.services
@pytest.mark.usefixtures("no_collector")
def test_an_ended_request_is_freed_without_the_collector(store: CassandraStore) -> None:
    before = futures()
    for i in range(REQUESTS):
        assert store.latest([f"shop/{i}"]) == {}
    until = time.monotonic() + PATIENCE_S
    while (left := futures() - before) >= REQUESTS // 2 and time.monotonic() < until:
        time.sleep(0.1)
    assert left < REQUESTS // 2  # some may be the driver's own heartbeats
