"""The Cassandra store: look, join, look again. Why that is right stands in `workers.stores.cassandra`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cassandra.cluster import Session  # type: ignore[import-untyped]
from cassandra.query import UNSET_VALUE, BatchStatement, BatchType  # type: ignore[import-untyped]

from schemas.errors import Transient
from schemas.events import ListingEvent
from schemas.predictions import RemovalMarker, StoredListing, Summary
from workers.stores.base import Latest
from workers.stores.cassandra import _cells as cells
from workers.stores.cassandra._calls import Calls, Row
from workers.stores.cassandra._scan import SortedIds
from workers.stores.cassandra._schema import check_schema
from workers.stores.cassandra._settings import CassandraSettings
from workers.stores.cassandra._statements import Statements

_PAGE_LISTINGS = 256
_READS = 3  # of a listing whose rows are not those that its head names; a healthy quorum never needs the second


class CassandraStore:
    """Port `Store` over Apache Cassandra; any number of processes may have it open."""

    def __init__(self, session: Session, settings: CassandraSettings) -> None:
        """Take over a session of `open_session`. Raises ConfigError when keyspace, table or schema version is wrong."""
        check_schema(session, settings)
        self._session = session
        self._max_bytes = settings.max_listing_bytes
        self._statements = Statements(session, settings)
        self._calls = Calls(session, settings)

    def write(self, listing: StoredListing, thumbnails: Mapping[str, bytes]) -> Latest:
        """See the port. The same event under the same model version again changes nothing unless it did better
        this time (status, then fewer bad images: a replay of dead letters); `stored_at` stays the first one.

        Raises:
            ValueError: a removal, a listing that is not that of its event, or an empty model version.
            Transient: perhaps nothing was written; writing it again is harmless.
        """
        event, deadline = listing.event, self._deadline()
        if event.removed or (listing.listing_id, listing.event_time) != (event.listing_id, event.event_time):
            raise ValueError(f"listing {listing.listing_id}: listing_id and event_time must be those of its live event")
        if not listing.model_version:
            raise ValueError(f"listing {listing.listing_id}: model_version must not be empty")
        order = event.order
        rank = cells.rank_of(listing, order[2])
        before = self._head(listing.listing_id, deadline)
        known = before.versions.get(listing.model_version) if before and before.order == order else None
        if before and (before.order > order or (known and _as_good(known.rank, rank))):
            return before.latest
        now = time.time_ns() // 1000
        version = cells.VersionCell(
            rank=rank, stored_at=known.stored_at if known else listing.stored_at or now, written_at=now
        )
        same = before is not None and before.order == order
        self._join(self._live(listing, version, thumbnails, event_is_there=same), deadline, "write")
        return self._after(listing.listing_id, deadline)

    def remove(self, event: ListingEvent) -> Latest:
        """See the port; raises ValueError unless the event is a removal."""
        if not event.removed:
            raise ValueError(f"listing {event.listing_id}: remove needs an event of type 'removed'")
        order, key, deadline = event.order, event.listing_id, self._deadline()
        before = self._head(key, deadline)
        if before and before.order >= order:
            return before.latest
        self._join(self._gone(event), deadline, "remove")
        return self._after(key, deadline)

    def latest(self, listing_ids: Sequence[str]) -> dict[str, Latest]:
        """See the port."""
        found: dict[str, Latest] = {}
        for ids in _pages(listing_ids):
            asked = (self._statements.bind("head", listing_id) for listing_id in ids)
            for listing_id, rows in zip(ids, self._calls.run_all(asked, self._deadline(), "latest"), strict=True):
                head = _head(rows)
                if head is not None:
                    found[listing_id] = head.latest
        return found

    def get(
        self, listing_ids: Sequence[str], model_version: str | None = None
    ) -> dict[str, StoredListing | RemovalMarker]:
        """See the port; each listing as of one moment."""
        return {
            listing.listing_id: listing for ids in _pages(listing_ids) for listing in self._page(ids, model_version)
        }

    def thumbnail(self, listing_id: str, image_id: str) -> bytes | None:
        """See the port."""
        asked = self._statements.bind("thumbnail", listing_id, image_id)
        rows = self._calls.run(asked, self._deadline(), "thumbnail")
        if not rows or rows[0][1] is None:
            return None
        newest, (digest, webp) = rows[0]
        return bytes(webp) if newest == f"live:{digest}" else None

    def scan(self, model_version: str | None = None) -> Iterator[StoredListing | RemovalMarker]:
        """See the port. Ids are read by token ranges and sorted, in a temporary file where they are many; listings
        are then read page by page, each as of its own moment."""
        with SortedIds(self._ids_after) as ids:
            for page in ids.pages(_PAGE_LISTINGS):
                yield from self._page(page, model_version)

    def close(self) -> None:
        """See the port; what is under way elsewhere ends with Transient."""
        self._session.cluster.shutdown()

    def _live(
        self,
        listing: StoredListing,
        version: cells.VersionCell,
        thumbnails: Mapping[str, bytes],
        *,
        event_is_there: bool,
    ) -> list[Any]:
        """What joins one run of a live event to what is there."""
        bind, key, order = self._statements.bind, listing.listing_id, listing.event.order
        at, newest, model = order[0], cells.newest_cell(order), listing.model_version
        event = UNSET_VALUE if event_is_there else cells.text(cells.EventCell(order[2], listing.event))
        parts = [] if event_is_there else [bind("clear", at - 1, key), bind("clear_photos", at - 1, key)]
        parts.append(bind("put_head", at, at, newest, event, model, cells.text(version), key))
        bodies = cells.bodies_of(listing, version.rank)
        parts += [bind("put_row", key, model, image_id, body, at) for image_id, body in bodies]
        parts.append(bind("put_photos_head", at, newest, key))
        parts += [bind("put_photo", key, image_id, (order[2], webp), at) for image_id, webp in thumbnails.items()]
        return parts

    def _gone(self, event: ListingEvent) -> list[Any]:
        """What joins a removal to what is there: all up to and including its time goes, the head stays as marker."""
        bind, key, order = self._statements.bind, event.listing_id, event.order
        at, newest = order[0], cells.newest_cell(order)
        return [
            bind("clear_rows", at, key),
            bind("clear_event", at, key),
            bind("put_marker", at, at, newest, key),
            bind("clear_all_photos", at, key),
            bind("put_photos_head", at, newest, key),
        ]

    def _join(self, parts: list[Any], deadline: float, doing: str) -> None:
        """Apply statements of one partition key as one mutation; acknowledged by a quorum when this returns."""
        size = sum(len(value) for part in parts for value in part.values if isinstance(value, bytes))
        if size > self._max_bytes:
            text = f"{doing}: a listing of {size} bytes; at most {self._max_bytes}: give photos by url, or raise"
            raise Transient("store", "listing_too_large", f"{text} store.url's max_listing_bytes")
        batch = BatchStatement(BatchType.UNLOGGED)
        batch.is_idempotent = True
        for part in parts:
            batch.add(part)
        self._calls.run(batch, deadline, doing)

    def _head(self, listing_id: str, deadline: float) -> cells.Head | None:
        return _head(self._calls.run(self._statements.bind("head", listing_id), deadline, "reading what is newest"))

    def _after(self, listing_id: str, deadline: float) -> Latest:
        head = self._head(listing_id, deadline)
        if head is None:
            raise _torn(listing_id)
        return head.latest

    def _page(self, ids: Sequence[str], model_version: str | None) -> list[StoredListing | RemovalMarker]:
        """Listings of some ids that are there, in their order."""
        found: dict[str, StoredListing | RemovalMarker | None] = {}
        asked = list(dict.fromkeys(ids))
        for _ in range(_READS):
            statements = (self._rows(listing_id, model_version) for listing_id in asked)
            answers = self._calls.run_all(statements, self._deadline(), "get")
            torn = []
            for listing_id, rows in zip(asked, answers, strict=True):
                whole, listing = _listing(listing_id, rows, model_version)
                found[listing_id] = listing
                if not whole:
                    torn.append(listing_id)
            if not torn:
                ordered = (found[listing_id] for listing_id in dict.fromkeys(ids))
                return [listing for listing in ordered if listing is not None]
            asked = torn
        raise _torn(asked[0])

    def _rows(self, listing_id: str, model_version: str | None) -> Any:
        if model_version is None:
            return self._statements.bind("rows", listing_id)
        return self._statements.bind("rows_of", listing_id, ["", model_version])

    def _ids_after(self, token: int, last: int, count: int) -> list[tuple[str, int]]:
        """At most `count` ids with their tokens in (token, last], in order of token."""
        asked = self._statements.bind("ids", token, last, count)
        return [(row[0], row[1]) for row in self._calls.run(asked, self._deadline(), "scan")]

    def _deadline(self) -> float:
        if self._session.is_shutdown:
            raise ValueError("the store is closed")
        return self._calls.deadline()


def _as_good(present: str, offered: str) -> bool:
    return present[: cells.GOODNESS_CHARS] >= offered[: cells.GOODNESS_CHARS]


def _head(rows: list[Row]) -> cells.Head | None:
    if not rows or rows[0][1] is None:
        return None
    return cells.read_head(*rows[0])


def _listing(
    listing_id: str, rows: list[Row], model_version: str | None
) -> tuple[bool, StoredListing | RemovalMarker | None]:
    """What the rows of a partition say; the first is False when they are not all of one run."""
    if not rows or rows[0][:2] != ("", ""):
        return not rows, None
    _, _, event_time, newest, versions, event_text, _ = rows[0]
    head = cells.read_head(event_time, newest, versions)
    if head.order[1]:
        return True, RemovalMarker(listing_id=listing_id, event_time=event_time)
    model = model_version or head.stored_last
    if model is None or model not in head.versions:
        return True, None
    bodies = {image_id: body for version, image_id, *_, body in rows if version == model}
    version = head.versions[model]
    if event_text is None or "" not in bodies:
        return False, None
    event, summary = cells.decode_event(event_text), cells.decode_summary(bodies[""])
    images = cells.images_of(summary, bodies)
    if images is None or summary.rank != version.rank or event.digest != head.order[2]:
        return False, None
    return True, StoredListing(
        listing_id=listing_id,
        event_time=event_time,
        model_version=model,
        epoch=summary.epoch,
        event=event.event,
        summary=Summary(status=summary.status, predictions=summary.predictions, bad_images=summary.bad_images),
        images=list(images),
        stored_at=version.stored_at,
    )


def _torn(listing_id: str) -> Transient:
    return Transient(
        "store",
        "torn_listing",
        f"listing {listing_id}: its rows are not those that its head names; repair the keyspace (nodetool repair)",
    )


def _pages(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _PAGE_LISTINGS):
        yield ids[start : start + _PAGE_LISTINGS]
