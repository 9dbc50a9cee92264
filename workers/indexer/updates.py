"""Applies records of the hash topic to the index. A record that cannot be used is counted and skipped."""

from __future__ import annotations

import logging
import time
from datetime import datetime

from engines.similarity import HashIndex
from schemas.envelope import header
from schemas.errors import EpochMismatch, InvalidEvent
from schemas.hashes import HashMessage, decode_hashes
from workers import tracing
from workers.indexer.recent import Recent, RecentListings
from workers.streams import Record
from workers.topic_records import RefusedRecords, removal_of
from workers.watching import metrics

_log = logging.getLogger(__name__)
_US = 1_000_000


class Updates:
    """Applies records in the order of their partition. Only one thread may call it."""

    def __init__(self, recent: RecentListings, *, epoch: str, max_hashes: int) -> None:
        self._recent = recent
        self._epoch = epoch
        self._max_hashes = max_hashes
        self._refused = RefusedRecords(_log, "a hash message")

    def apply(self, index: HashIndex, record: Record, *, live: bool) -> None:
        """Apply one record to the index. A record that cannot be used is counted, logged and skipped.

        `live`: the record was written just now, so its age counts for the freshness metrics. False while an index is
        rebuilt.
        """
        try:
            with tracing.indexing(record):
                if record.value is None:
                    self._remove(index, record, live=live)
                else:
                    self._replace(index, decode_hashes(record.value), record, live=live)
        except InvalidEvent as error:
            self._refuse(error.error, record, error.message)
        except EpochMismatch as error:
            self._refuse("epoch", record, str(error))

    def _replace(self, index: HashIndex, message: HashMessage, record: Record, *, live: bool) -> None:
        if message.epoch != self._epoch:
            raise EpochMismatch(f"epoch: {message.epoch} is not this index's {self._epoch}; publish to its own topic")
        if record.key != message.listing_id.encode():
            raise InvalidEvent("index", "key_mismatch", "key: not the listing_id of the message; keys order a listing")
        if len(message.images) > self._max_hashes:
            text = f"images: {len(message.images)} hashes, at most {self._max_hashes}; raise max_listing_hashes"
            raise InvalidEvent("index", "too_many_hashes", text)
        if not index.apply(message):
            metrics.EVENTS.labels("index", "superseded").inc()
            return
        if message.images:
            entry = Recent(
                listing_id=message.listing_id,
                event_time=message.event_time,
                uploaded_at=_uploaded_at(record),
                indexed_at=time.time_ns() // 1000 if live else record.timestamp_ms * 1000,
            )
            self._recent.note(entry)
        else:
            self._recent.forget(message.listing_id)
        self._done("applied", record, live=live)

    def _remove(self, index: HashIndex, record: Record, *, live: bool) -> None:
        listing_id, event_time = removal_of(record, "index")
        if not index.remove(listing_id, event_time):
            metrics.EVENTS.labels("index", "superseded").inc()
            return
        self._recent.forget(listing_id)
        if live:
            metrics.REMOVAL_SECONDS.labels("index").observe(max(0.0, time.time() - event_time / _US))
        self._done("removed", record, live=live)

    def _done(self, outcome: str, record: Record, *, live: bool) -> None:
        now = time.time()
        metrics.EVENTS.labels("index", outcome).inc()
        metrics.INDEX_APPLIED.set(now)
        metrics.LAST_EVENT.labels("indexed").set(now)
        if live:
            uploaded = _uploaded_at(record) or record.timestamp_ms * 1000
            age_s = max(0.0, now - uploaded / _US)
            metrics.EVENT_AGE.labels("indexed").observe(age_s, tracing.exemplar_from(record))

    def _refuse(self, error: str, record: Record, why: str) -> None:
        metrics.EVENTS.labels("index", "refused").inc()
        metrics.INDEX_REFUSED.labels(error).inc()
        self._refused.note(error, record, why)


def _uploaded_at(record: Record) -> int | None:
    """The upload time in UTC microseconds, which the tagger writes to header `ce_time`; None if it is missing."""
    try:
        return int(datetime.fromisoformat(header(record.headers, "ce_time") or "").timestamp() * _US)
    except ValueError:
        return None
