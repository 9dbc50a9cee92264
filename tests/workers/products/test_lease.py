"""One worker at a time has the lease; who stood still for too long says so to the one that followed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.workers.test_catching_up import Clock
from workers.products.lease import SETTING, Lease
from workers.stores import Store, build_store

TTL_S = 15.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(build_store(f"sqlite://{tmp_path}/store.db")) as made:
        yield made


def test_the_second_one_waits_until_the_first_gives_the_lease_back(store: Store) -> None:
    clock = Clock()
    one, two = (Lease(store, name, TTL_S, clock) for name in ("one", "two"))
    assert (one.hold(), two.hold()) == (True, False)
    assert (one.term, two.term, two.holder) == (1, 0, "one")
    for _ in range(10):
        clock.now += TTL_S / 2
        assert (one.hold(), two.hold()) == (True, False), "it is renewed in time"
    one.release()
    clock.now += TTL_S / 15
    assert two.hold()
    assert not Lease(store, "one", TTL_S, clock).hold()


def test_a_worker_that_is_gone_is_followed_after_the_time_of_the_lease(store: Store) -> None:
    clock = Clock()
    one, two = (Lease(store, name, TTL_S, clock) for name in ("one", "two"))
    assert one.hold()
    waited = 0
    while not two.hold():
        clock.now += 1
        waited += 1
    assert waited == TTL_S
    assert Lease(store, "two", TTL_S, clock).hold(), "the same worker after a restart need not wait"


def test_who_stood_still_stops_writing_and_the_present_writer_compares_anew(store: Store) -> None:
    clock, slow = Clock(), Clock()
    one, two = Lease(store, "one", TTL_S, slow), Lease(store, "two", TTL_S, clock)
    assert one.hold()
    two.hold()
    clock.now += TTL_S
    assert two.hold()
    assert (two.hold(), two.term) == (True, 1)
    assert one.hold(), "its clock stands still: for all it knows, it has the lease"
    slow.now += 2 * TTL_S
    assert not one.hold()
    clock.now += TTL_S / 3
    assert (two.hold(), two.term) == (True, 2)
    clock.now += TTL_S / 3
    assert (two.hold(), two.term) == (True, 2), "only once"
    found = store.setting(SETTING)
    assert found is not None
    assert found.value == b"two"
