"""The store port: predictions, latest event and thumbnails by listing; event time decides, never arrival order.

Every back end passes `tests/contract/test_store_contract.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from schemas.errors import Invalid, Transient
from schemas.events import ListingEvent
from schemas.predictions import RemovalMarker, Status, StoredListing

Order = tuple[int, bool, str]


class Run(NamedTuple):
    """What a model has made of an event, as the store has it."""

    status: Status
    name: str
    """`StoredListing.run`; empty where the store does not know it."""


@dataclass(frozen=True, slots=True)
class Put:
    """One event's rows, summary and thumbnails, to be written together.

    Raises ValueError for a removal, a listing that is not that of its event, or one without a model version.
    """

    listing: StoredListing
    thumbnails: Mapping[str, bytes]

    def __post_init__(self) -> None:
        listing, event = self.listing, self.listing.event
        if event.removed or (listing.listing_id, listing.event_time) != (event.listing_id, event.event_time):
            raise ValueError(f"listing {listing.listing_id}: listing_id and event_time must be those of its live event")
        if not listing.model_version:
            raise ValueError(f"listing {listing.listing_id}: model_version must not be empty")

    @property
    def event(self) -> ListingEvent:
        """Whose effects these are."""
        return self.listing.event


@dataclass(frozen=True, slots=True)
class Removal:
    """All of a listing up to the event's order, to be removed. Raises ValueError for a live event."""

    event: ListingEvent

    def __post_init__(self) -> None:
        if not self.event.removed:
            raise ValueError(f"listing {self.event.listing_id}: remove needs an event of type 'removed'")


Change = Put | Removal


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest that the store has seen of a listing: a stored event, or a removal."""

    order: Order
    """`ListingEvent.order` of that event."""
    removed: bool
    runs: Mapping[str, Run] = field(default_factory=dict)
    """By model version: those that have rows for that very event."""

    @property
    def model_versions(self) -> frozenset[str]:
        """Model versions that have rows for that very event."""
        return frozenset(self.runs)


class Store(Protocol):
    """Thread-safe. Every call may raise schemas.errors.Transient (retry) and blocks until durable or refused."""

    def apply(self, changes: Sequence[Change]) -> list[Latest | Invalid | Transient]:
        """Make changes of any listings side by side, each as `write` or `remove` has it, in any order. An outcome for
        each, in theirs: what is newest of its listing afterwards, or why it was not made; one that fails harms no
        other. Raises ConfigError where the store cannot be used as it is."""

    def write(self, listing: StoredListing, thumbnails: Mapping[str, bytes]) -> Latest:
        """Write one event's effects together (rows, summary, event, thumbnails), replacing this listing's older rows
        of the same model version, unless the store has something newer (`ListingEvent.order`). The same event again
        changes nothing, `stored_at` included. Returns what is newest afterwards. Raises Invalid for a listing that
        the back end can never take."""

    def remove(self, event: ListingEvent) -> Latest:
        """Remove rows of all model versions, event and thumbnails up to the event's order; leave a marker."""

    def latest(self, listing_ids: Sequence[str]) -> dict[str, Latest]:
        """What is newest of each listing; unknown ones are absent. Cheap: no rows are read, so that what it names may
        still be on its way to some copies, where `get` is sure to serve it or says Transient."""

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


class OneByOne:
    """`write` and `remove` of a back end, as `apply` of one change."""

    def apply(self, changes: Sequence[Change]) -> list[Latest | Invalid | Transient]:
        """See the port."""
        raise NotImplementedError

    def write(self, listing: StoredListing, thumbnails: Mapping[str, bytes]) -> Latest:
        """See the port. The same event under the same model version again changes nothing unless it did better
        this time (status, then fewer bad images: a replay of dead letters); `stored_at` stays the first one.

        Raises:
            ValueError: as `Put`.
            Invalid: it is larger than the back end takes.
            Transient: perhaps nothing was written; writing it again is harmless.
        """
        return self._one(Put(listing, thumbnails))

    def remove(self, event: ListingEvent) -> Latest:
        """See the port; raises as `write`."""
        return self._one(Removal(event))

    def _one(self, change: Change) -> Latest:
        (outcome,) = self.apply([change])
        if isinstance(outcome, Latest):
            return outcome
        raise outcome
