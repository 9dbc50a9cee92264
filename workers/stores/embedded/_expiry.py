"""The end of the inline photos of stored events, with their metadata, where the store keeps them for a time only.

The event stays whole in its row until a later write finds that its time is over. Readers leave its photos out from that
time on, so it does not matter when that write comes.
"""

from __future__ import annotations

import sqlite3
import time

import msgspec

from schemas.events import ListingEvent, with_digest, without_inline_photos

EXPIRY_SCHEMA = """
CREATE TABLE IF NOT EXISTS expiring (listing_id TEXT PRIMARY KEY, expires_at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS expiring_by_end ON expiring (expires_at);
"""

_decoder = msgspec.msgpack.Decoder(ListingEvent)


def end_later(db: sqlite3.Connection, event: ListingEvent, keep_s: float) -> None:
    """Let the inline photos of an event that has just been stored end in `keep_s` seconds, if it has any."""
    if any(image.data is not None for image in event.images):
        db.execute("INSERT OR REPLACE INTO expiring VALUES (?, ?)", (event.listing_id, time.time() + keep_s))


def end_inline_photos(db: sqlite3.Connection, most: int) -> int:
    """Take the inline photos out of at most `most` events whose time is over. Returns how many there were."""
    over = db.execute(
        "SELECT e.listing_id, l.digest, l.event FROM expiring e JOIN latest l USING (listing_id)"
        " WHERE e.expires_at <= ? AND l.event IS NOT NULL ORDER BY e.expires_at LIMIT ?",
        (time.time(), most),
    ).fetchall()
    for listing_id, digest, body in over:
        bare = without_inline_photos(with_digest(_decoder.decode(body), digest))
        db.execute("UPDATE latest SET event = ? WHERE listing_id = ?", (msgspec.msgpack.encode(bare), listing_id))
        db.execute("DELETE FROM expiring WHERE listing_id = ?", (listing_id,))
    return len(over)


def stored_event(db: sqlite3.Connection, listing_id: str, digest: str, body: bytes) -> ListingEvent:
    """The event of a listing as `get` returns it, from its row in `latest`."""
    event = _decoder.decode(body)
    row = db.execute("SELECT expires_at FROM expiring WHERE listing_id = ?", (listing_id,)).fetchone()
    if row is not None and row[0] <= time.time():
        event = without_inline_photos(event)
    return with_digest(event, digest)
