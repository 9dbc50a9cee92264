"""What every reader of a topic of ours does with a record that it cannot use, and how a tombstone of hashes is read."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

from schemas.envelope import header
from schemas.errors import InvalidEvent
from schemas.hashes import EVENT_TIME_HEADER
from workers.streams import Record

_LISTING_ID = re.compile(r"[A-Za-z0-9._:/-]{1,128}")
_QUIET_S = 10.0  # between two log lines about the same error; the counter of the caller counts all


class RefusedRecords:
    """Logs records that cannot be used, each kind of error once in ten seconds. Only one thread may call it."""

    def __init__(self, log: logging.Logger, what: str, now: Callable[[], float] = time.monotonic) -> None:
        """`what` is refused: "a hash message". `now` gives seconds."""
        self._log, self._what, self._now = log, what, now
        self._logged_at: dict[str, float] = {}

    def note(self, error: str, record: Record, why: str) -> None:
        """Log a record that was refused for an `error`, unless that kind was logged a moment ago."""
        now = self._now()
        if now - self._logged_at.get(error, -_QUIET_S) < _QUIET_S:
            return
        self._logged_at[error] = now
        place = f"{record.partition.topic}[{record.partition.number}] offset {record.offset}"
        self._log.warning("refused %s at %s: %s", self._what, place, why)


def removal_of(record: Record, stage: str) -> tuple[str, int]:
    """The listing and the event time (UTC microseconds) of a tombstone of the hash topic.

    Raises:
        InvalidEvent: it has no time, or its key is no listing_id. `stage` says who read it.
    """
    event_time = header(record.headers, EVENT_TIME_HEADER)
    if event_time is None or not (event_time.isascii() and event_time.isdigit() and len(event_time) <= 19):
        raise InvalidEvent(
            stage, "no_event_time", f"{EVENT_TIME_HEADER}: a tombstone needs this header, UTC microseconds"
        )
    listing_id = (record.key or b"").decode("ascii", "replace")
    if not _LISTING_ID.fullmatch(listing_id):
        raise InvalidEvent(stage, "invalid_key", "key: not a listing_id; a tombstone is keyed by its listing")
    return listing_id, int(event_time)
