"""How many events of a topic the taggers have not finished, and for how long these have waited."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from schemas.topics import RETRY_DELAYS_S
from workers.streams.base import Partition, StreamAdmin
from workers.tagger import GROUP, RETRY_GROUP


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """Of one topic. Times are UTC milliseconds; None where nothing waits."""

    topic: str
    waiting: int
    """Records that are not committed, those in hand included."""
    oldest_ms: int | None = None
    due: int = 0
    """Records of `waiting` whose time has come; all of them in a topic without a delay."""
    oldest_due_ms: int | None = None
    """When the first of these was due."""


def committed(admin: StreamAdmin, topic: str) -> dict[Partition, int]:
    """What the taggers have committed. The retry topics have a group of their own; where it has committed nothing yet,
    what group `tagger` has committed counts, since that is taken over when the retry group begins."""
    if topic not in RETRY_DELAYS_S:
        return admin.committed(GROUP, topic)
    return {**admin.committed(GROUP, topic), **admin.committed(RETRY_GROUP, topic)}


def uncommitted(admin: StreamAdmin, topic: str) -> dict[Partition, tuple[int, int]]:
    """First uncommitted offset and end of each partition with uncommitted records. Raises Transient."""
    done, ends = committed(admin, topic), admin.end_offsets(topic)
    return {p: (done.get(p, 0), end) for p, end in ends.items() if done.get(p, 0) < end}


def measure(admin: StreamAdmin, topic: str, now_ms: int) -> Lag:
    """The lag of a topic as of now. Raises Transient, and ConfigError for an unknown topic."""
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
    """Records with a timestamp of `until_ms` at most, where `stamps` has those of the first. Retries are written in the
    order of their timestamps, so that the border is found by halving: of a million records twenty are looked at."""
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
