"""Live listings and retries are read apart: own groups, own budgets; suspects run alone in either."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from schemas.dead_letters import parse_dead_letter
from schemas.errors import Invalid, Transient
from schemas.topics import RETRY_DELAYS_S, UPLOADED
from tests.workers.tagger.rig import BASE_US, PATIENCE_S, Rig, event, jpeg
from tests.workers.tagger.test_hold import until
from workers.stages.settle import Effects
from workers.streams import Partition, RebalanceListener
from workers.tagger import GROUP, RETRY_GROUP
from workers.tagger.completion.journal import Journal

RETRY_30S, RETRY_10M = RETRY_DELAYS_S


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RETRY_DELAYS_S, RETRY_30S, 0.0)
    monkeypatch.setitem(RETRY_DELAYS_S, RETRY_10M, 0.0)


class SlowHost:
    """An intake at which the photos of some listings take until they are let through."""

    def __init__(self, intake) -> None:
        self._intake = intake
        self.go = threading.Event()
        self.waiting = 0

    def fetch(self, ref):
        if ref.image_id == "slow":
            self.waiting += 1
            self.go.wait(PATIENCE_S)
        return self._intake.fetch(ref)


def slow(listing: str):
    from schemas.events import ImageRef, ListingEvent

    return ListingEvent(
        event_id=listing,
        listing_id=listing,
        event_time=BASE_US,
        type="created",
        images=[ImageRef(image_id="slow", data=jpeg(7))],
    )


def test_retries_that_wait_for_a_slow_host_hold_up_no_live_listing(make_rig, quick_retries: None) -> None:
    rig: Rig = make_rig(max_in_flight_retries=3)
    host = SlowHost(rig.intake)
    rig.send(*(slow(f"slow/{i}") for i in range(20)), topic=RETRY_30S)
    with rig.tagger(intake=host) as failure:
        until(lambda: host.waiting >= 1, "the slow host is asked")
        rig.send(*(event(f"a/{i}", [jpeg(i)]) for i in range(150)))
        rig.wait_live(failure)
        assert host.waiting == 1, "retries have one thread of their own"
        host.go.set()
        rig.wait(failure)
    assert len(list(rig.store.scan())) == 170


def test_the_retry_group_begins_where_the_old_group_had_stopped(rig: Rig, quick_retries: None) -> None:
    """Before there were two groups, `tagger` read the retry topics too, and committed there."""
    rig.send(*(event(f"old/{i}", [jpeg(i)]) for i in range(8)), topic=RETRY_10M)
    ends = rig.admin.end_offsets(RETRY_10M)
    consumer = rig.stream.consumer(GROUP, [UPLOADED, *RETRY_DELAYS_S], RebalanceListener())
    read = 0
    while read < 8:
        read += len(consumer.poll(0.1, 100))
    consumer.commit(ends)
    consumer.close()
    rig.send(*(event(f"new/{i}", [jpeg(i)]) for i in range(8)), topic=RETRY_10M)
    with rig.tagger() as failure:
        rig.wait(failure)
    assert {state.listing_id for state in rig.store.scan()} == {f"new/{i}" for i in range(8)}
    assert sum(rig.admin.committed(RETRY_GROUP, RETRY_10M).values()) == 16


def crashed(rig: Rig, topic: str, listing: str, times: int) -> None:
    """Leave a journal in which an event was in hand at some crashes."""
    (record,) = [r for r in rig.admin.read(topic) if r.key == listing.encode()]
    folder = rig.home / "tagger"
    folder.mkdir(exist_ok=True)
    name = f"{record.partition.topic}/{record.partition.number}/{record.offset}"
    with (folder / "attempts-0.log").open("a") as log:
        log.write(f"+{name}\n" * times)


class Company:
    """An intake that notes what is in hand beside each photo of a suspect."""

    def __init__(self, intake) -> None:
        self._intake = intake
        self._lock = threading.Lock()
        self._now: set[str] = set()
        self.beside: list[set[str]] = []

    def fetch(self, ref):
        name = ref.image_id
        with self._lock:
            if name.startswith("suspect") or any(n.startswith("suspect") for n in self._now):
                self.beside.append({*self._now, name})
            self._now.add(name)
        time.sleep(0.002)  # widens the moment in which another could be beside it
        try:
            return self._intake.fetch(ref)
        finally:
            with self._lock:
                self._now.discard(name)


def named(listing: str):
    from schemas.events import ImageRef, ListingEvent

    images = [ImageRef(image_id=listing, data=jpeg(hash(listing) % 100))]
    return ListingEvent(event_id=listing, listing_id=listing, event_time=BASE_US, type="created", images=images)


def test_suspects_of_both_lanes_run_with_nothing_beside_them(rig: Rig, quick_retries: None) -> None:
    rig.send(*(named(f"live/{i}") for i in range(30)), named("suspect/live"))
    rig.send(*(named(f"retry/{i}") for i in range(30)), named("suspect/retry"), topic=RETRY_30S)
    crashed(rig, UPLOADED, "suspect/live", 1)
    crashed(rig, RETRY_30S, "suspect/retry", 2)
    company = Company(rig.intake)
    with rig.tagger(intake=company) as failure:
        rig.wait(failure)
    assert sorted(map(sorted, company.beside)) == [["suspect/live"], ["suspect/retry"]]
    assert len(list(rig.store.scan())) == 62


@pytest.mark.parametrize(
    "error", [Invalid("x", "y", "escaped"), Transient("x", "y", "escaped"), RuntimeError("escaped")], ids=repr
)
def test_a_crash_loop_of_any_cause_ends_by_the_attempts_rule(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    settle = Effects.settle

    def fails(self: Effects, jobs):
        if any(job.listing_id == "killer" for job in jobs):
            raise error
        return settle(self, jobs)

    monkeypatch.setattr(Effects, "settle", fails)
    rig.send(event("killer", [jpeg(0)]), *(event(f"a/{i}", [jpeg(i)]) for i in range(1, 6)))
    lives = 0
    while rig.lag():
        assert lives < 12, "suspects come one by one; only the killer may cost three lives"
        lives += 1
        with rig.tagger() as failure:
            until(lambda failure=failure: bool(failure) or not rig.lag(), "an end")
    (letter,) = [parse_dead_letter(record.headers) for record in rig.dead_letters()]
    assert (letter.error, letter.listing_id) == ("process_died", None)
    assert {state.listing_id for state in rig.store.scan()} == {f"a/{i}" for i in range(1, 6)}
    journal = Journal(Path(rig.home) / "tagger")
    assert journal.crashes() == {}
    journal.close()


def test_what_is_taken_back_leaves_no_hole_in_the_offsets() -> None:
    from tests.workers.tagger.completion.test_offsets import P, record
    from workers.tagger.completion.offsets import PartitionOffsets

    offsets = PartitionOffsets()
    first, second = offsets.take(record(0)), offsets.take(record(1))
    with pytest.raises(ValueError, match="only the newest"):
        first.take_back()
    second.take_back()
    first.finish()
    assert offsets.to_commit() == 1
    again = offsets.take(record(1))
    again.finish()
    assert offsets.to_commit() == 2
    assert Partition(*P) == P
