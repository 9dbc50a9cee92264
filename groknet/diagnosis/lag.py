"""Counts the events of a topic that the taggers have not finished, and measures how long they have waited."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from schemas.topics import RETRY_DELAYS_S
from workers.streams.base import Partition, StreamAdmin
from workers.tagger import GROUP, RETRY_GROUP


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """The lag of one topic. Times are UTC milliseconds; None if nothing waits."""

    topic: str
    waiting: int
    """Records that are not committed, those in hand included."""
    oldest_ms: int | None = None
    due: int = 0
    """Records of `waiting` that are due. In a topic without a delay these are all."""
    oldest_due_ms: int | None = None
    """When the first due record became due."""


def committed(admin: StreamAdmin, topic: str) -> dict[Partition, int]:
    """The offsets that the taggers have committed, by partition. The retry topics have their own group. If it has not
    committed anything yet, the offsets of group `tagger` count, because the retry group begins with them."""
    if topic not in RETRY_DELAYS_S:
        return admin.committed(GROUP, topic)
    return {**admin.committed(GROUP, topic), **admin.committed(RETRY_GROUP, topic)}


def uncommitted(admin: StreamAdmin, topic: str) -> dict[Partition, tuple[int, int]]:
    """The first uncommitted offset and the end offset of each partition with uncommitted records. Raises Transient."""
    done, ends = committed(admin, topic), admin.end_offsets(topic)
    return {p: (done.get(p, 0), end) for p, end in ends.items() if done.get(p, 0) < end}


def measure(admin: StreamAdmin, topic: str, now_ms: int) -> Lag:
    """The lag of a topic at `now_ms` (UTC). Raises Transient, and ConfigError for an unknown topic."""
    spans = uncommitted(admin, topic)
    waiting = sum(end - first for first, end in spans.values())
    stamps = admin.timestamps_ms({partition: first for partition, (first, _) in spans.items()})
    oldest = min(stamps.values(), default=None)
    if oldest is None:
        return Lag(topic=topic, waiting=waiting)
    delay_ms = int(RETRY_DELAYS_S.get(topic, 0.0) * 1000)
    due = _count_until(admin, spans, stamps, now_ms - delay_ms) if delay_ms else waiting
    first_due = oldest + delay_ms if due else None
    return Lag(topic=topic, waiting=waiting, oldest_ms=oldest, due=due, oldest_due_ms=first_due)


def _count_until(
    admin: StreamAdmin, spans: Mapping[Partition, tuple[int, int]], stamps: Mapping[Partition, int], until_ms: int
) -> int:
    """The number of records with a timestamp of at most `until_ms` (UTC). `stamps` has the timestamps of the first
    records. Retries are written in the order of their timestamps, so a binary search finds the border: it reads twenty
    of a million records."""
    low = {p: spans[p][0] + 1 for p, stamp in stamps.items() if stamp <= until_ms}
    high = {p: spans[p][1] for p in low}
    while middle := {p: (low[p] + high[p]) // 2 for p in low if low[p] < high[p]}:
        found = admin.timestamps_ms(middle)
        for partition, offset in middle.items():
            if found.get(partition, until_ms + 1) <= until_ms:
                low[partition] = offset + 1
            else:
                high[partition] = offset
    return sum(offset - spans[p][0] for p, offset in low.items())
