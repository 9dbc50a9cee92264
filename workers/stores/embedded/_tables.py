"""The tables of the store, and the rules that decide what replaces what, inside the caller's transaction.

One rule makes the result independent of the order of arrival: rows and thumbnails always belong to the newest event of
their listing (`ListingEvent.order`). So a newer event removes the rows of *all* model versions. The rows of another
model version come back when that model has processed the event as well. Old results are never served as current.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping

import msgspec

from schemas.events import ListingEvent
from schemas.predictions import SUMMARY_IMAGE_ID, ImageRow, RemovalMarker, Status, StoredListing, Summary, by_photo
from workers.stores.base import Change, Latest, Order, Removal, Run
from workers.stores.embedded._expiry import end_later, stored_event

SCHEMA = """
CREATE TABLE IF NOT EXISTS latest (
    listing_id TEXT PRIMARY KEY, event_time INTEGER NOT NULL, removed INTEGER NOT NULL, digest TEXT NOT NULL,
    event BLOB
);
CREATE TABLE IF NOT EXISTS rows (
    seq INTEGER PRIMARY KEY, listing_id TEXT NOT NULL, model_version TEXT NOT NULL, image_id TEXT NOT NULL,
    body BLOB NOT NULL, UNIQUE (listing_id, model_version, image_id)
);
CREATE TABLE IF NOT EXISTS thumbnails (
    listing_id TEXT NOT NULL, image_id TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (listing_id, image_id)
);
"""

_RANK = {"empty": 3, "complete": 2, "partial": 1, "dead": 0}


class _SummaryRow(msgspec.Struct, frozen=True):
    """Body of the row with `image_id = ''`: the values that all photos of a listing share. `run` is
    `StoredListing.run`; it is empty in files from before that field existed."""

    epoch: str
    stored_at: int
    summary: Summary
    run: str = ""


class _StatusAlone(msgspec.Struct, frozen=True):
    status: Status


class _RunAlone(msgspec.Struct, frozen=True):
    """The fields of the same body that distinguish runs. The predictions are not decoded."""

    summary: _StatusAlone
    run: str = ""


_summary_decoder = msgspec.msgpack.Decoder(_SummaryRow)
_run_decoder = msgspec.msgpack.Decoder(_RunAlone)
_image_decoder = msgspec.msgpack.Decoder(ImageRow | list[ImageRow])  # a list: the boxes of a photo that has several
_encode = msgspec.msgpack.encode


def read_latest(db: sqlite3.Connection, listing_id: str) -> Latest | None:
    """What is newest of a listing; None if the store does not know it."""
    row = db.execute("SELECT event_time, removed, digest FROM latest WHERE listing_id = ?", (listing_id,)).fetchone()
    if row is None:
        return None
    summaries = db.execute(
        "SELECT model_version, body FROM rows WHERE listing_id = ? AND image_id = ?", (listing_id, SUMMARY_IMAGE_ID)
    )
    bodies = {version: _run_decoder.decode(body) for version, body in summaries}
    runs = {version: Run(body.summary.status, body.run) for version, body in bodies.items()}
    return Latest((row[0], bool(row[1]), row[2]), bool(row[1]), runs)


def put_change(db: sqlite3.Connection, change: Change, inline_photos_s: float | None = None) -> Latest:
    """Make one change, unless the store has something newer or equally good. Returns what is newest afterwards.

    `inline_photos_s`: the inline photos of the event end so many seconds after it was first stored."""
    if isinstance(change, Removal):
        return put_removal(db, change.event)
    return put_listing(db, change.listing, change.thumbnails, inline_photos_s)


def put_listing(
    db: sqlite3.Connection, listing: StoredListing, thumbnails: Mapping[str, bytes], inline_photos_s: float | None
) -> Latest:
    """Store the effects of one event, unless the store has something newer or equally good.

    What is newest afterwards follows from what was there and what is written, so it is not read again."""
    order = listing.event.order
    newest = read_latest(db, listing.listing_id)
    runs: dict[str, Run] = {}
    if newest is None or newest.order < order:
        if newest is not None:  # a listing that nothing is known of has no rows to delete
            _clear(db, listing.listing_id)
        _set_latest(db, listing.event, order)
        if inline_photos_s is not None:
            end_later(db, listing.event, inline_photos_s)
        _insert_rows(db, listing)
    elif newest.order == order:
        present = _read_rows(db, listing.listing_id, listing.model_version)
        if present is not None and _goodness(present[0].summary) >= _goodness(listing.summary):
            return newest
        stored_at = listing.stored_at if present is None else present[0].stored_at
        if present is not None:
            _delete_rows(db, listing)
        _insert_rows(db, msgspec.structs.replace(listing, stored_at=stored_at))
        runs = dict(newest.runs)
    else:
        return newest
    db.executemany(
        "INSERT INTO thumbnails VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        [(listing.listing_id, image_id, body) for image_id, body in thumbnails.items()],
    )
    return Latest(order, order[1], {**runs, listing.model_version: Run(listing.summary.status, listing.run)})


def put_removal(db: sqlite3.Connection, event: ListingEvent) -> Latest:
    """Replace everything of a listing by a marker, unless the store has something newer."""
    order = event.order
    newest = read_latest(db, event.listing_id)
    if newest is not None and newest.order >= order:
        return newest
    _clear(db, event.listing_id)
    _set_latest(db, event, order)
    return Latest(order, True)


def read_listing(
    db: sqlite3.Connection, listing_id: str, model_version: str | None
) -> StoredListing | RemovalMarker | None:
    """A listing under a model version (None: the one stored last), its marker, or None."""
    row = db.execute(
        "SELECT event_time, removed, digest, event FROM latest WHERE listing_id = ?", (listing_id,)
    ).fetchone()
    if row is None:
        return None
    event_time, removed, digest, event = row
    if removed:
        return RemovalMarker(listing_id=listing_id, event_time=event_time)
    version = model_version or _stored_last(db, listing_id)
    rows = _read_rows(db, listing_id, version)
    if rows is None:
        return None
    shared, images = rows
    return StoredListing(
        listing_id=listing_id,
        event_time=event_time,
        model_version=version,
        epoch=shared.epoch,
        event=stored_event(db, listing_id, digest, event),
        summary=shared.summary,
        images=images,
        stored_at=shared.stored_at,
    )


def _stored_last(db: sqlite3.Connection, listing_id: str) -> str:
    row = db.execute(
        "SELECT model_version FROM rows WHERE listing_id = ? ORDER BY seq DESC LIMIT 1", (listing_id,)
    ).fetchone()
    return "" if row is None else str(row[0])


def _goodness(summary: Summary) -> tuple[int, int, bytes]:
    """How good the result of an event is; larger is better. A replay of its dead letters may improve it, never worsen
    it.

    The bytes decide between equally good results, so that the order of arrival does not matter.
    """
    return _RANK[summary.status], -len(summary.bad_images), _encode(summary.bad_images)


def _clear(db: sqlite3.Connection, listing_id: str) -> None:
    db.execute("DELETE FROM expiring WHERE listing_id = ?", (listing_id,))
    db.execute("DELETE FROM rows WHERE listing_id = ?", (listing_id,))
    db.execute("DELETE FROM thumbnails WHERE listing_id = ?", (listing_id,))


def _set_latest(db: sqlite3.Connection, event: ListingEvent, order: Order) -> None:
    body = None if event.removed else _encode(event)
    db.execute("INSERT OR REPLACE INTO latest VALUES (?, ?, ?, ?, ?)", (event.listing_id, *order, body))


def _insert_rows(db: sqlite3.Connection, listing: StoredListing) -> None:
    key = (listing.listing_id, listing.model_version)
    stored_at = listing.stored_at or time.time_ns() // 1000
    shared = _SummaryRow(listing.epoch, stored_at, listing.summary, listing.run)
    photos = by_photo(listing.images)
    images = ((image_id, _encode(rows if len(rows) > 1 else rows[0])) for image_id, rows in photos.items())
    bodies = [(SUMMARY_IMAGE_ID, _encode(shared)), *images]
    db.executemany(
        "INSERT INTO rows (listing_id, model_version, image_id, body) VALUES (?, ?, ?, ?)",
        [(*key, image_id, body) for image_id, body in bodies],
    )


def _delete_rows(db: sqlite3.Connection, listing: StoredListing) -> None:
    key = (listing.listing_id, listing.model_version)
    db.execute("DELETE FROM rows WHERE listing_id = ? AND model_version = ?", key)


def _read_rows(
    db: sqlite3.Connection, listing_id: str, model_version: str
) -> tuple[_SummaryRow, list[ImageRow]] | None:
    bodies = db.execute(
        "SELECT body FROM rows WHERE listing_id = ? AND model_version = ? ORDER BY seq", (listing_id, model_version)
    ).fetchall()
    if not bodies:
        return None
    images: list[ImageRow] = []
    for (body,) in bodies[1:]:
        found = _image_decoder.decode(body)
        images += found if isinstance(found, list) else [found]
    return _summary_decoder.decode(bodies[0][0]), images
