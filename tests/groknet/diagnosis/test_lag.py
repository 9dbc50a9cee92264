"""The lag of `groknet doctor`: due retries are counted as a reading of every record would."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from groknet.diagnosis.lag import measure
from tests.groknet.diagnosis.flow import LONG, SHORT, Flow
from workers.streams import Partition, Record
from workers.tagger import GROUP, RETRY_GROUP


def brute_force(records: Sequence[Record], done: dict[Partition, int], due_ms: int) -> tuple[int, int, int]:
    left = [record for record in records if record.offset >= done.get(record.partition, 0)]
    return len(left), sum(r.timestamp_ms <= due_ms for r in left), min(r.timestamp_ms for r in left)


@pytest.mark.parametrize("seed", range(4))
def test_due_retries_are_counted_as_a_reading_of_all_would(flow: Flow, seed: int) -> None:
    chance = random.Random(seed)
    for i in range(60):
        flow.send(LONG, f"l/{i}")
    records = flow.records(LONG)
    stamps = sorted(chance.randrange(1_000_000, 2_000_000) for _ in records)
    chance.shuffle(records)
    by_partition: dict[int, list[int]] = {}
    for record, stamp in zip(records, stamps, strict=True):
        by_partition.setdefault(record.partition.number, []).append(stamp)
    flow.spread(LONG, {(n, offset): s for n, all_ in by_partition.items() for offset, s in enumerate(sorted(all_))})
    done = {record.partition: record.offset for record in chance.sample(records, 3)}
    flow.commit(GROUP, LONG, done)
    for now_ms in (1_000_000, 1_800_000, 2_100_000, 2_400_000, 3_000_000):
        waiting_, due, oldest = brute_force(flow.records(LONG), done, now_ms - 600_000)
        lag = measure(flow.admin, LONG, now_ms)
        assert (lag.waiting, lag.due, lag.oldest_ms) == (waiting_, due, oldest)
        assert lag.oldest_due_ms == (oldest + 600_000 if due else None)


def test_the_retry_group_counts_where_it_has_committed_and_the_old_group_elsewhere(flow: Flow) -> None:
    for i in range(40):
        flow.send(SHORT, f"l/{i}")
    ends = flow.admin.end_offsets(SHORT)
    one, *others = [partition for partition, end in ends.items() if end]
    flow.commit(GROUP, SHORT, ends)
    assert measure(flow.admin, SHORT, 0).waiting == 0
    flow.commit(RETRY_GROUP, SHORT, {one: 0})
    assert measure(flow.admin, SHORT, 0).waiting == ends[one]
    flow.commit(RETRY_GROUP, SHORT, {others[0]: ends[others[0]] - 1})
    assert measure(flow.admin, SHORT, 0).waiting == ends[one] + 1
