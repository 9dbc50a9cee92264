"""The buffer against a list: nothing lost, order kept within a partition, paused ones untouched, turns taken."""

from __future__ import annotations

import random

import pytest

from workers.streams import Partition, Record

pytest.importorskip("kafka")
pytestmark = pytest.mark.filterwarnings(
    "ignore:(read|open)_text is deprecated:DeprecationWarning"
)  # kafka-python 3.0.12


def record(partition: Partition, offset: int) -> Record:
    return Record(partition, offset, 0, None, None)


@pytest.mark.parametrize("seed", range(20))
def test_what_goes_in_comes_out_in_order(seed: int) -> None:
    from workers.streams.kafka._buffer import FairBuffer

    rng = random.Random(seed)
    partitions = [Partition("t", n) for n in range(4)]
    buffer, inside = FairBuffer(), {p: [] for p in partitions}  # the naive twin
    offsets = dict.fromkeys(partitions, 0)
    paused: set[Partition] = set()
    for _ in range(300):
        match rng.randrange(5):
            case 0 | 1:
                partition = rng.choice(partitions)
                new = [record(partition, offsets[partition] + n) for n in range(rng.randrange(5))]
                offsets[partition] += len(new)
                buffer.add(partition, new)
                inside[partition] += new
            case 2:
                paused = {p for p in partitions if rng.random() < 0.4}
            case 3 if rng.random() < 0.2:
                dropped = rng.sample(partitions, 2)
                buffer.drop(dropped)
                for partition in dropped:
                    inside[partition].clear()
            case _:
                count = rng.randrange(1, 9)
                available = sum(len(queue) for p, queue in inside.items() if p not in paused)
                assert buffer.ready(paused) == (available > 0)
                taken = buffer.take(count, paused)
                assert len(taken) == min(count, available)
                for one in taken:
                    assert one == inside[one.partition].pop(0)
                    assert one.partition not in paused


def test_a_long_queue_starves_no_other() -> None:
    from workers.streams.kafka._buffer import FairBuffer

    buffer = FairBuffer()
    for number, length in enumerate((1000, 3, 3)):
        partition = Partition("t", number)
        buffer.add(partition, [record(partition, n) for n in range(length)])
    assert {one.partition.number for one in buffer.take(3, ())} == {0, 1, 2}
    ones = [buffer.take(1, ())[0].partition.number for _ in range(3)]
    assert sorted(ones) == [0, 1, 2]
    assert sum(one.partition.number == 0 for one in buffer.take(100, ())) == 98
