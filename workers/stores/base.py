"""The store port: predictions, latest event and thumbnails by listing; event time decides, never arrival order.

Every back end passes `tests/contract/test_store_contract.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.events import ListingEvent
from schemas.predictions import RemovalMarker, StoredListing

Order = tuple[int, bool, str]


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest that the store has seen of a listing: a stored event, or a removal."""

    order: Order
    """`ListingEvent.order` of that event."""
    removed: bool
    model_versions: frozenset[str] = frozenset()
    """Model versions that have rows for that very event."""


class Store(Protocol):
    """Thread-safe. Every call may raise schemas.errors.Transient (retry) and blocks until durable or refused."""

    def write(self, listing: StoredListing, thumbnails: Mapping[str, bytes]) -> Latest:
        """Write one event's effects together (rows, summary, event, thumbnails), replacing this listing's older rows
        of the same model version, unless the store has something newer (`ListingEvent.order`). The same event again
        changes nothing, `stored_at` included. Returns what is newest afterwards."""

    def remove(self, event: ListingEvent) -> Latest:
        """Remove rows of all model versions, event and thumbnails up to the event's order; leave a marker."""

    def latest(self, listing_ids: Sequence[str]) -> dict[str, Latest]:
        """What is newest of each listing; unknown ones are absent."""

    def get(
        self, listing_ids: Sequence[str], model_version: str | None = None
    ) -> dict[str, StoredListing | RemovalMarker]:
        """The listings under a model version (default: the one stored last); unknown ones are absent."""

    def thumbnail(self, listing_id: str, image_id: str) -> bytes | None:
        """WebP bytes, or None."""

    def scan(self, model_version: str | None = None) -> Iterator[StoredListing | RemovalMarker]:
        """Everything, in listing_id order; for back-fills, checks and recent strips."""

    def close(self) -> None:
        """Release. Idempotent."""
