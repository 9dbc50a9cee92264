"""Reads records of the hash topic into the grouping. A record that cannot be used is counted, logged and skipped."""

from __future__ import annotations

import logging
import re
import time

from schemas.envelope import header
from schemas.errors import EpochMismatch, InvalidEvent
from schemas.hashes import EVENT_TIME_HEADER, decode_hashes
from workers import metrics
from workers.products.grouping import Grouping
from workers.streams import Record

_log = logging.getLogger(__name__)
_LISTING_ID = re.compile(r"[A-Za-z0-9._:/-]{1,128}")
_QUIET_S = 10.0  # between two log lines about the same error; the counter counts all


class Updates:
    """Takes records in the order of their partition. Only one thread may call it."""

    def __init__(self) -> None:
        self._logged_at: dict[str, float] = {}

    def take(self, grouping: Grouping, record: Record) -> None:
        """Note what a record says of its listing."""
        try:
            taken = (
                self._remove(grouping, record) if record.value is None else self._put(grouping, record, record.value)
            )
        except InvalidEvent as error:
            self._refuse(error.error, record, error.message)
        except EpochMismatch as error:
            self._refuse("epoch", record, str(error))
        else:
            metrics.EVENTS.labels("products", "applied" if taken else "superseded").inc()

    def _put(self, grouping: Grouping, record: Record, value: bytes) -> bool:
        message = decode_hashes(value)
        if record.key != message.listing_id.encode():
            raise InvalidEvent(
                "products", "key_mismatch", "key: not the listing_id of the message; it orders a listing"
            )
        return grouping.put(message)

    def _remove(self, grouping: Grouping, record: Record) -> bool:
        event_time = header(record.headers, EVENT_TIME_HEADER)
        if event_time is None or not (event_time.isascii() and event_time.isdigit() and len(event_time) <= 19):
            text = f"{EVENT_TIME_HEADER}: a tombstone needs this header, UTC microseconds"
            raise InvalidEvent("products", "no_event_time", text)
        listing_id = (record.key or b"").decode("ascii", "replace")
        if not _LISTING_ID.fullmatch(listing_id):
            raise InvalidEvent("products", "invalid_key", "key: not a listing_id; a tombstone is keyed by its listing")
        return grouping.remove(listing_id, int(event_time))

    def _refuse(self, error: str, record: Record, why: str) -> None:
        metrics.EVENTS.labels("products", "refused").inc()
        metrics.PRODUCT_REFUSED.labels(error).inc()
        now = time.monotonic()
        if now - self._logged_at.get(error, -_QUIET_S) < _QUIET_S:
            return
        self._logged_at[error] = now
        place = f"{record.partition.topic}[{record.partition.number}] offset {record.offset}"
        _log.warning("refused a hash message at %s: %s", place, why)
