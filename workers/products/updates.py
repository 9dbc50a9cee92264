"""Reads records of the hash topic into the grouping. A record that cannot be used is counted, logged and skipped."""

from __future__ import annotations

import logging

from schemas.errors import EpochMismatch, InvalidEvent
from schemas.hashes import decode_hashes
from workers.products.grouping import Grouping
from workers.streams import Record
from workers.topic_records import RefusedRecords, removal_of
from workers.watching import metrics

_log = logging.getLogger(__name__)


class Updates:
    """Takes records in the order of their partition. Only one thread may call it."""

    def __init__(self) -> None:
        self._refused = RefusedRecords(_log, "a hash message")

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
        return grouping.remove(*removal_of(record, "products"))

    def _refuse(self, error: str, record: Record, why: str) -> None:
        metrics.EVENTS.labels("products", "refused").inc()
        metrics.PRODUCT_REFUSED.labels(error).inc()
        self._refused.note(error, record, why)
