"""The interface of stores: the predictions, the latest event and the thumbnails of each listing. Event time decides,
not arrival.

A store also holds the products that listings belong to, and what the workers share: settings, announcements of live
workers, and blobs by their digest. Every back end passes `tests/contract/test_store_contract.py`,
`tests/contract/test_products_contract.py` and `tests/contract/test_shared_state_contract.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from schemas.errors import Invalid, Transient
from schemas.events import ListingEvent
from schemas.predictions import RemovalMarker, Status, StoredListing
from schemas.products import Membership, Product

Order = tuple[int, bool, str]
PROBE_S = 2.0
"""Longest time that `Store.probe` may take, in seconds."""
MAX_VALUE_BYTES = 64 * 1024
"""The largest setting or announcement. Every worker reads them every second."""
MAX_BLOB_BYTES = 4 * 1024 * 1024
"""The largest blob: six of the largest inline photos. By default a store takes listings of this size as well."""
BLOB_DAYS = 31
"""How many days a blob is kept after it was last stored."""
_NAME_CHARS = 256


class Run(NamedTuple):
    """The result of a model for an event, as the store has it."""

    status: Status
    name: str
    """`StoredListing.run`; empty if the store does not know it."""


@dataclass(frozen=True, slots=True)
class Put:
    """The rows, the summary and the thumbnails of one event, which are written together.

    Raises ValueError for a removal, a listing that does not belong to its event, or a listing without a model version.
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
        """The event of the listing."""
        return self.listing.event


@dataclass(frozen=True, slots=True)
class Removal:
    """Removes everything of a listing up to the order of the event. Raises ValueError for a live event."""

    event: ListingEvent

    def __post_init__(self) -> None:
        if not self.event.removed:
            raise ValueError(f"listing {self.event.listing_id}: remove needs an event of type 'removed'")


Change = Put | Removal


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest event of a listing that the store knows: a stored event, or a removal."""

    order: Order
    """`ListingEvent.order` of that event."""
    removed: bool
    runs: Mapping[str, Run] = field(default_factory=dict)
    """The runs that have rows for exactly this event, by model version."""

    @property
    def model_versions(self) -> frozenset[str]:
        """The model versions that have rows for exactly this event."""
        return frozenset(self.runs)


@dataclass(frozen=True, slots=True)
class Setting:
    """A record that all workers share; `version` counts its changes from 1."""

    value: bytes
    version: int


class Store(Protocol):
    """A store. Thread-safe. Every call blocks until it is durable or refused, and may raise
    schemas.errors.Transient.

    With `build_store(inline_photos_s=...)` the inline photos of an event end so many seconds after the event was first
    stored, and nothing else does: rows, summary, thumbnails, the other fields of the event, its order and a marker
    stay. `get` and `scan` then return the event as `schemas.events.without_inline_photos` does."""

    def apply(self, changes: Sequence[Change]) -> list[Latest | Invalid | Transient]:
        """Make changes of several listings, in any order; each works like `write` or `remove`.

        Returns:
            One outcome for each change, in their order: what is newest of its listing afterwards, or why it failed. A
            change that fails does not affect the others.

        Raises:
            ConfigError: the store is set up wrongly.
        """

    def write(self, listing: StoredListing, thumbnails: Mapping[str, bytes]) -> Latest:
        """Write the rows, the summary, the event and the thumbnails of one event together.

        They replace older rows of the same model version, unless the store has a newer event (`ListingEvent.order`).
        Writing the same event again changes nothing, not even `stored_at`.

        Returns:
            What is newest of the listing afterwards.

        Raises:
            Invalid: the back end can never take this listing.
        """

    def remove(self, event: ListingEvent) -> Latest:
        """Remove the rows of all model versions, the event and the thumbnails, up to the order of `event`. Leave a
        marker."""

    def latest(self, listing_ids: Sequence[str]) -> dict[str, Latest]:
        """What is newest of each listing. Unknown listings are absent.

        It is cheap because it reads no rows, so the rows may not have reached every replica. `get` returns them or
        raises Transient."""

    def get(
        self, listing_ids: Sequence[str], model_version: str | None = None
    ) -> dict[str, StoredListing | RemovalMarker]:
        """The listings with the rows of a model version (default: the one stored last). Unknown listings are absent."""

    def thumbnail(self, listing_id: str, image_id: str) -> bytes | None:
        """The bytes of a thumbnail: JPEG, or WebP where an older version stored it. None if there is none."""

    def scan(self, model_version: str | None = None) -> Iterator[StoredListing | RemovalMarker]:
        """All listings and removal markers, in the order of listing ids."""

    def put_products(self, products: Sequence[Product], memberships: Sequence[Membership]) -> None:
        """Write products and memberships, the products first. Each replaces what the store has under the same id.

        Only one worker at a time may write products. After Transient, any part may have been written; write it again.
        """

    def drop_products(self, product_ids: Sequence[str], listing_ids: Sequence[str]) -> None:
        """Delete the memberships of listings, then products. What is unknown is left out. After Transient as
        `put_products`."""

    def tidy_products(self) -> Iterator[int]:
        """Delete what a crash left of products and no call reads. Only the worker that writes products may call it.

        Returns:
            While it goes on, the number of rows that were deleted since the last step. It must be read to its end.
        """

    def product(self, product_id: str) -> Product | None:
        """A product or an alias; None if it is unknown."""

    def products_of(self, listing_ids: Sequence[str]) -> dict[str, str]:
        """The id of each listing's product. Listings without one are absent."""

    def members(self, product_id: str) -> list[str]:
        """The ids of the listings of a product, sorted; empty for an alias and for an unknown id."""

    def all_products(self) -> Iterator[Product]:
        """All products and aliases, each once, in any order."""

    def all_memberships(self) -> Iterator[Membership]:
        """The membership of every listing that has a product, each once, in any order."""

    def probe(self) -> None:
        """Write a cell and read it back. Raises Transient if the store cannot do that within `PROBE_S` seconds,
        whatever its other time-outs are."""

    def setting(self, name: str) -> Setting | None:
        """A setting that all workers share; None if there is none."""

    def put_setting(self, name: str, value: bytes, version: int) -> bool:
        """Write a setting if its version is still `version`; 0 means that it does not exist yet.

        Returns False if another worker was faster; read it again then. After Transient it may have been written. Raises
        Invalid above `MAX_VALUE_BYTES`."""

    def announce(self, worker: str, value: bytes, ttl_s: float) -> None:
        """Announce that a worker is alive. The announcement ends after `ttl_s` seconds, rounded up to whole seconds, or
        by `withdraw`. Raises Invalid above `MAX_VALUE_BYTES`."""

    def announced(self) -> dict[str, bytes]:
        """The live workers, each with its last announcement."""

    def withdraw(self, worker: str) -> None:
        """End the announcement of a worker. Idempotent."""

    def keep_blob(self, data: bytes) -> str:
        """Store bytes for at least `BLOB_DAYS` days from now, and return their SHA-256 in hex for `blob`.

        Storing the same bytes again restarts that time. Raises Invalid if they are larger than `MAX_BLOB_BYTES`, or
        larger than a lower limit of the back end."""

    def blob(self, digest: str) -> bytes | None:
        """The bytes with this digest; None if there are none."""

    def close(self) -> None:
        """Release all resources. Idempotent."""


def check_name(name: str) -> None:
    """Raise ValueError if the name of a setting or worker is empty or longer than 256 characters."""
    if not 0 < len(name) <= _NAME_CHARS:
        raise ValueError(f"name {name[:40]!r}: must have 1 to {_NAME_CHARS} characters")


def check_value(name: str, value: bytes) -> None:
    """Raise Invalid if a setting or an announcement is too large, and ValueError as `check_name` does."""
    check_name(name)
    if len(value) > MAX_VALUE_BYTES:
        text = f"{name}: {len(value)} bytes; a setting or an announcement has at most {MAX_VALUE_BYTES}"
        raise Invalid("store", "too_large", text)


def check_blob(data: bytes, most: int) -> str:
    """The SHA-256 of a blob in hex. Raises Invalid if the blob is larger than `most` bytes."""
    if len(data) > most:
        raise Invalid("store", "too_large", f"a blob of {len(data)} bytes; this store takes at most {most}")
    return hashlib.sha256(data).hexdigest()


def differs() -> Transient:
    """The error of a probe that reads back something else than it wrote."""
    return Transient(
        "store", "probe_failed", "a probe reads back something else than it has just written; check the store"
    )


class OneByOne:
    """Implements `write` and `remove` by `apply` with one change."""

    def apply(self, changes: Sequence[Change]) -> list[Latest | Invalid | Transient]:
        """See the interface."""
        raise NotImplementedError

    def write(self, listing: StoredListing, thumbnails: Mapping[str, bytes]) -> Latest:
        """See the interface. The same event under the same model version changes nothing, unless its result is better:
        a better status, or fewer bad images, as after a replay of dead letters. `stored_at` keeps its first value.

        Raises:
            ValueError: as `Put`.
            Invalid: the listing is larger than the back end takes.
            Transient: it may have been written or not. Writing it again is harmless.
        """
        return self._one(Put(listing, thumbnails))

    def remove(self, event: ListingEvent) -> Latest:
        """See the interface. Raises the same errors as `write`."""
        return self._one(Removal(event))

    def _one(self, change: Change) -> Latest:
        (outcome,) = self.apply([change])
        if isinstance(outcome, Latest):
            return outcome
        raise outcome
