"""Plans the statements of a change, given the present state. They have one partition key, and form one mutation.

This module sends nothing to the servers. `workers.stores.cassandra` explains why the statements are correct in any
order.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cassandra.query import UNSET_VALUE, BatchStatement, BatchType  # type: ignore[import-untyped]

from schemas.errors import Invalid
from schemas.events import ListingEvent, without_inline_photos
from schemas.predictions import StoredListing
from workers.stores.base import Change, Latest, Order, Put, Removal
from workers.stores.cassandra import _cells as cells
from workers.stores.cassandra._statements import Statements


@dataclass(slots=True)
class Plan:
    """One change. `join`: the statements that write it. `clear`: the statements that delete older data once a quorum
    has `join`. `latest`: the newest event of the listing afterwards."""

    latest: Latest
    join: list[Any] = field(default_factory=list)
    clear: list[Any] = field(default_factory=list)


class Planner:
    """Plans changes."""

    def __init__(self, statements: Statements, max_bytes: int, inline_photos_s: float | None = None) -> None:
        """`max_bytes`: the largest mutation. `inline_photos_s`: how long inline photos stay; None: with their
        listing."""
        self._statements = statements
        self._max_bytes = max_bytes
        self._inline_photos_s = inline_photos_s

    def plan(self, change: Change, before: cells.Head | None) -> Plan:
        """Plan a change. `before` is the present head. If it names this event or a newer one, it must come from a read
        of the whole partition, which brings all of it to a quorum."""
        if before and before.order > change.event.order:
            return Plan(before.latest)
        if isinstance(change, Removal):
            return Plan(Latest(change.event.order, True), self._gone(change.event))
        return self._put(change, before)

    def batch(self, parts: list[Any]) -> Any:
        """Join statements of one partition key in one mutation. Raises Invalid if Cassandra would refuse its size."""
        size = sum([len(value) for part in parts for value in part.values if isinstance(value, bytes)])
        if size > self._max_bytes:
            text = f"a listing of {size} bytes; at most {self._max_bytes}: give photos by url, or raise"
            raise Invalid("store", "listing_too_large", f"{text} store.url's max_listing_bytes")
        batch = BatchStatement(BatchType.UNLOGGED)
        batch.is_idempotent = True
        for part in parts:
            batch.add(part)
        return batch

    def _put(self, change: Put, before: cells.Head | None) -> Plan:
        listing, order = change.listing, change.event.order
        rank = cells.rank_of(listing, cells.key_of(order))
        same = before is not None and before.order == order
        known = before.versions.get(listing.model_version) if before and same else None
        photos = self._photos(listing.listing_id, order, change.thumbnails)
        if before and known and _as_good(known.rank, rank):
            return Plan(before.latest, photos)  # the read has brought the rest to a quorum
        now = time.time_ns() // 1000
        stored_at = known.stored_at if known else listing.stored_at or now
        version = cells.VersionCell(rank=rank, stored_at=stored_at, written_at=now)
        runs = {**(before.latest.runs if before and same else {}), listing.model_version: cells.run_of(rank)}
        join = [*self._live(listing, version, event_is_there=same), *photos]
        clear = self._older(listing.listing_id, order) if before and not same else []
        return Plan(Latest(order, False, runs), join, clear)

    def _live(self, listing: StoredListing, version: cells.VersionCell, *, event_is_there: bool) -> list[Any]:
        """The statements that write one run of a live event."""
        bind, key, order, model = self._statements.bind, listing.listing_id, listing.event.order, listing.model_version
        at, newest = order[0], cells.newest_cell(order)
        event, whole = (UNSET_VALUE, []) if event_is_there else self._event(listing.event)
        head = bind("put_head", at, at, newest, event, model, cells.text(version), key)
        bodies = cells.bodies_of(listing, version.rank)
        return [head, *whole, *(bind("put_row", key, model, image_id, body, at) for image_id, body in bodies)]

    def _event(self, event: ListingEvent) -> tuple[str, list[Any]]:
        """The cell of an event that is not there yet. If its photos end, the whole event gets a row that ends."""
        key = cells.key_of(event.order)
        bare = event if self._inline_photos_s is None else without_inline_photos(event)
        cell = cells.text(cells.EventCell(key, bare))
        if bare is event or self._inline_photos_s is None:
            return cell, []
        body = cells.text(cells.EventCell(key, event))
        ttl = max(1, math.ceil(self._inline_photos_s))
        return cell, [self._statements.bind("put_whole", event.listing_id, key, body, event.order[0], ttl)]

    def _photos(self, key: str, order: Order, thumbnails: Mapping[str, bytes]) -> list[Any]:
        mark = cells.key_of(order)
        bind = self._statements.bind
        return [bind("put_photo", key, image_id, (mark, body), order[0]) for image_id, body in thumbnails.items()]

    def _older(self, key: str, order: Order) -> list[Any]:
        """The statements that delete everything older than an event that a quorum has."""
        bind, before = self._statements.bind, order[0] - 1
        return [bind("clear", before, key), bind("clear_photos", before, key)]

    def _gone(self, event: ListingEvent) -> list[Any]:
        """The statements of a removal: they delete everything up to and including its time, and keep the head as its
        marker."""
        bind, key, order = self._statements.bind, event.listing_id, event.order
        at = order[0]
        return [
            bind("clear_rows", at, key),
            bind("clear_event", at, key),
            bind("clear_whole", at, key),
            bind("put_marker", at, at, cells.newest_cell(order), key),
            bind("clear_photos", at, key),
        ]


def _as_good(present: str, offered: str) -> bool:
    return present[: cells.GOODNESS_CHARS] >= offered[: cells.GOODNESS_CHARS]
