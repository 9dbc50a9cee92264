"""The commit position against a naive twin: the longest unbroken prefix of finished records."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from workers.streams.base import Partition, Record
from workers.tagger.completion.offsets import Offsets, PartitionOffsets

P = Partition("t", 0)


def record(offset: int, partition: Partition = P) -> Record:
    return Record(partition=partition, offset=offset, timestamp_ms=0, key=None, value=b"")


@given(st.integers(1, 40), st.randoms(use_true_random=False), st.lists(st.integers(1, 5), min_size=40, max_size=40))
def test_commit_is_the_end_of_the_unbroken_run(count: int, rng: random.Random, steps: list[int]) -> None:
    offsets = [sum(steps[: i + 1]) for i in range(count)]  # a compacted log has gaps
    tracker = PartitionOffsets()
    tickets = [tracker.take(record(offset)) for offset in offsets]
    order = list(range(count))
    rng.shuffle(order)
    finished: set[int] = set()
    committed = None
    for i in order:
        tracker.finish(tickets[i])
        finished.add(i)
        prefix = next((n for n in range(count) if n not in finished), count)
        expected = offsets[prefix - 1] + 1 if prefix else None
        committed = tracker.to_commit() or committed
        assert committed == expected
    assert tracker.idle
    assert tracker.gap == 0


def test_nothing_is_committed_beyond_an_unfinished_record() -> None:
    tracker = PartitionOffsets()
    first, second = tracker.take(record(0)), tracker.take(record(1))
    tracker.finish(second)
    assert tracker.to_commit() is None
    assert tracker.gap == 2
    tracker.finish(first)
    assert tracker.to_commit() == 2
    assert tracker.to_commit() is None


def test_a_failed_commit_is_offered_again_but_never_an_older_one() -> None:
    offsets = Offsets()
    tracker = offsets.of(P)
    tracker.finish(tracker.take(record(4)))
    offer = offsets.to_commit()
    assert offer == {P: 5}
    offsets.restore(offer)
    assert offsets.to_commit() == {P: 5}
    tracker.finish(tracker.take(record(5)))
    offsets.restore({P: 5})
    assert offsets.to_commit() == {P: 6}


def test_a_partition_that_left_and_came_back_forgets_what_was_in_hand() -> None:
    offsets = Offsets()
    late = offsets.of(P).take(record(7))
    before = offsets.of(P)
    offsets.drop(frozenset({P}))
    again = offsets.of(P).take(record(3))
    before.finish(late)  # finishes after the partition moved away and back
    assert offsets.to_commit() == {}
    offsets.of(P).finish(again)
    assert offsets.to_commit() == {P: 4}


def test_idle_and_commit_look_only_at_the_partitions_asked_for() -> None:
    other = Partition("t", 1)
    offsets = Offsets()
    offsets.of(P).take(record(0))
    offsets.of(other).finish(offsets.of(other).take(record(0, other)))
    assert offsets.idle(frozenset({other}))
    assert not offsets.idle(frozenset({P, other}))
    assert offsets.to_commit(frozenset({P})) == {}
    assert offsets.to_commit(frozenset({other})) == {other: 1}
