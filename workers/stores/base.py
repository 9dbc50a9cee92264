"""The store port: predictions, latest event and thumbnails by listing; event time decides, never arrival order.

Beside the listings a store holds what the workers share: settings, who is alive, and bytes under their own digest.
Every back end passes `tests/contract/test_store_contract.py` and `tests/contract/test_shared_state_contract.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from schemas.errors import Invalid, Transient
from schemas.events import ListingEvent
from schemas.predictions import RemovalMarker, Status, StoredListing

Order = tuple[int, bool, str]
PROBE_S = 2.0
"""Longest time that `Store.probe` may take, in seconds."""
MAX_VALUE_BYTES = 64 * 1024
"""Of a setting or an announcement: they are read by every worker every second."""
MAX_BLOB_BYTES = 4 * 1024 * 1024
"""Of a blob: six of the largest inline photos, and what a store takes of a listing by default."""
BLOB_DAYS = 31
"""How long a blob is kept after it was last given."""
_NAME_CHARS = 256


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


@dataclass(frozen=True, slots=True)
class Setting:
    """A record that all workers share; `version` counts its changes from 1."""

    value: bytes
    version: int


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

    def probe(self) -> None:
        """Write a cell of its own and read it back. Raises Transient when the store cannot do that within
        `PROBE_S` seconds, whatever its other time-outs are."""

    def setting(self, name: str) -> Setting | None:
        """A record that all workers share, or None."""

    def put_setting(self, name: str, value: bytes, version: int) -> bool:
        """Write a record if its version is still `version`; 0: if there is none. False: somebody was faster, read it
        again. After Transient it may have been written. Raises Invalid above `MAX_VALUE_BYTES`."""

    def announce(self, worker: str, value: bytes, ttl_s: float) -> None:
        """Say that a worker is alive. It is forgotten after `ttl_s` seconds (rounded up to whole ones), or by
        `withdraw`. Raises Invalid above `MAX_VALUE_BYTES`."""

    def announced(self) -> dict[str, bytes]:
        """Who is alive now, and what each said last."""

    def withdraw(self, worker: str) -> None:
        """Take an announcement back. Idempotent."""

    def keep_blob(self, data: bytes) -> str:
        """Keep bytes for `BLOB_DAYS` days from now at least; returns their sha256 in hex, by which `blob` finds them.
        The same bytes again prolong that time. Raises Invalid for more than a store takes: `MAX_BLOB_BYTES`, or less
        where a back end is set to less."""

    def blob(self, digest: str) -> bytes | None:
        """The bytes of a digest, or None."""

    def close(self) -> None:
        """Release. Idempotent."""


def check_name(name: str) -> None:
    """Raises ValueError for a name of a setting or worker that is empty or longer than 256 characters."""
    if not 0 < len(name) <= _NAME_CHARS:
        raise ValueError(f"name {name[:40]!r}: must have 1 to {_NAME_CHARS} characters")


def check_value(name: str, value: bytes) -> None:
    """Raises Invalid for a setting or an announcement that is too large, and as `check_name`."""
    check_name(name)
    if len(value) > MAX_VALUE_BYTES:
        text = f"{name}: {len(value)} bytes; a setting or an announcement has at most {MAX_VALUE_BYTES}"
        raise Invalid("store", "too_large", text)


def check_blob(data: bytes, most: int) -> str:
    """The digest of a blob; raises Invalid when it is larger than `most` bytes."""
    if len(data) > most:
        raise Invalid("store", "too_large", f"a blob of {len(data)} bytes; this store takes at most {most}")
    return hashlib.sha256(data).hexdigest()


def differs() -> Transient:
    """What a probe raises that reads back another cell than it wrote."""
    return Transient("store", "probe_failed", "a probe's cell is not as it was just written; look after the store")


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
