"""The Cassandra store: look, then join. Why that is right stands in `workers.stores.cassandra`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cassandra.cluster import Session  # type: ignore[import-untyped]
from cassandra.query import UNSET_VALUE, BatchStatement, BatchType  # type: ignore[import-untyped]

from schemas.errors import Transient
from schemas.events import ListingEvent
from schemas.predictions import RemovalMarker, StoredListing, Summary
from workers.stores.base import Latest, Order
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
        key, order = listing.listing_id, event.order
        rank = cells.rank_of(listing, cells.key_of(order))
        before = self._look(key, deadline)
        if before and before.order > order:
            return before.latest
        same = before is not None and before.order == order
        known = before.versions.get(listing.model_version) if before and same else None
        photos = self._photos(key, order, thumbnails)
        if before and known and _as_good(known.rank, rank):
            self._join(photos, deadline, "write")  # the look has made sure of all else
            return before.latest
        now = time.time_ns() // 1000
        stored_at = known.stored_at if known else listing.stored_at or now
        version = cells.VersionCell(rank=rank, stored_at=stored_at, written_at=now)
        self._join([*self._live(listing, version, event_is_there=same), *photos], deadline, "write")
        if before and not same:
            self._join(self._older(key, order), deadline, "write")
        versions = set(before.versions) if before and same else set()
        return Latest(order, False, frozenset(versions | {listing.model_version}))

    def remove(self, event: ListingEvent) -> Latest:
        """See the port; raises ValueError unless the event is a removal."""
        if not event.removed:
            raise ValueError(f"listing {event.listing_id}: remove needs an event of type 'removed'")
        order, deadline = event.order, self._deadline()
        before = self._look(event.listing_id, deadline)
        if before and before.order > order:
            return before.latest
        self._join(self._gone(event), deadline, "remove")
        return Latest(order, True)

    def latest(self, listing_ids: Sequence[str]) -> dict[str, Latest]:
        """See the port."""
        found: dict[str, Latest] = {}
        for ids in _pages(listing_ids):
            asked = (self._statements.bind("rows", listing_id) for listing_id in ids)
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
        asked = [self._statements.bind("rows", listing_id), self._statements.bind("photo", listing_id, image_id)]
        rows, photos = self._calls.run_all(asked, self._deadline(), "thumbnail")
        head = _head(rows)
        if head is None or head.order[1] or not photos:
            return None
        key, webp = photos[0][0]
        return bytes(webp) if key == cells.key_of(head.order) else None

    def scan(self, model_version: str | None = None) -> Iterator[StoredListing | RemovalMarker]:
        """See the port. Ids are read by token ranges and sorted, in a temporary file where they are many; listings
        are then read page by page, each as of its own moment."""
        with SortedIds(self._ids_after) as ids:
            for page in ids.pages(_PAGE_LISTINGS):
                yield from self._page(page, model_version)

    def close(self) -> None:
        """See the port; what is under way elsewhere ends with Transient."""
        self._session.cluster.shutdown()

    def _live(self, listing: StoredListing, version: cells.VersionCell, *, event_is_there: bool) -> list[Any]:
        """What joins one run of a live event to what is there."""
        bind, key, order, model = self._statements.bind, listing.listing_id, listing.event.order, listing.model_version
        at, newest = order[0], cells.newest_cell(order)
        event = UNSET_VALUE if event_is_there else cells.text(cells.EventCell(cells.key_of(order), listing.event))
        head = bind("put_head", at, at, newest, event, model, cells.text(version), key)
        bodies = cells.bodies_of(listing, version.rank)
        return [head, *(bind("put_row", key, model, image_id, body, at) for image_id, body in bodies)]

    def _photos(self, key: str, order: Order, thumbnails: Mapping[str, bytes]) -> list[Any]:
        mark = cells.key_of(order)
        bind = self._statements.bind
        return [bind("put_photo", key, image_id, (mark, webp), order[0]) for image_id, webp in thumbnails.items()]

    def _older(self, key: str, order: Order) -> list[Any]:
        """What clears away all that is older than an event which a quorum has."""
        bind, before = self._statements.bind, order[0] - 1
        return [bind("clear", before, key), bind("clear_photos", before, key)]

    def _gone(self, event: ListingEvent) -> list[Any]:
        """What joins a removal to what is there: all up to and including its time goes, the head stays as marker."""
        bind, key, order = self._statements.bind, event.listing_id, event.order
        at = order[0]
        return [
            bind("clear_rows", at, key),
            bind("clear_event", at, key),
            bind("put_marker", at, at, cells.newest_cell(order), key),
            bind("clear_photos", at, key),
        ]

    def _join(self, parts: list[Any], deadline: float, doing: str) -> None:
        """Apply statements of one partition key as one mutation; acknowledged by a quorum when this returns."""
        if not parts:
            return
        size = sum(len(value) for part in parts for value in part.values if isinstance(value, bytes))
        if size > self._max_bytes:
            text = f"{doing}: a listing of {size} bytes; at most {self._max_bytes}: give photos by url, or raise"
            raise Transient("store", "listing_too_large", f"{text} store.url's max_listing_bytes")
        batch = BatchStatement(BatchType.UNLOGGED)
        batch.is_idempotent = True
        for part in parts:
            batch.add(part)
        self._calls.run(batch, deadline, doing)

    def _look(self, listing_id: str, deadline: float) -> cells.Head | None:
        """What is newest, read with all that belongs to it, so that read repair brings all of it to a quorum."""
        return _head(self._calls.run(self._statements.bind("rows", listing_id), deadline, "reading what is newest"))

    def _page(self, ids: Sequence[str], model_version: str | None) -> list[StoredListing | RemovalMarker]:
        """Listings of some ids that are there, in their order."""
        found: dict[str, StoredListing | RemovalMarker | None] = {}
        asked = list(dict.fromkeys(ids))
        for _ in range(_READS):
            statements = (self._statements.bind("rows", listing_id) for listing_id in asked)
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
    """The head of a partition, which is its first row."""
    if not rows or rows[0][:2] != ("", "") or rows[0][3] is None:
        return None
    _, _, event_time, newest, versions, _, _ = rows[0]
    return cells.read_head(event_time, newest, versions)


def _listing(
    listing_id: str, rows: list[Row], model_version: str | None
) -> tuple[bool, StoredListing | RemovalMarker | None]:
    """What the rows of a partition say; the first is False when they are not all of one run."""
    head = _head(rows)
    if head is None:
        return True, None
    event_time, removed, _ = head.order
    if removed:
        return True, RemovalMarker(listing_id=listing_id, event_time=event_time)
    model = model_version or head.stored_last
    if model is None or model not in head.versions:
        return True, None
    version, event_text = head.versions[model], rows[0][5]
    bodies = {image_id: body for named, image_id, *_, body in rows if named == model}
    if event_text is None or "" not in bodies:
        return False, None
    event, summary = cells.decode_event(event_text), cells.decode_summary(bodies[""])
    images = cells.images_of(summary, bodies)
    if images is None or summary.rank != version.rank or event.key != cells.key_of(head.order):
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
