"""The embedded store. Reads use a small pool of connections. Writes go through one writer with group commit."""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import Invalid, Transient
from schemas.predictions import RemovalMarker, StoredListing
from workers.sqlite import connect, transaction, transient
from workers.stores.base import Change, Latest, OneByOne
from workers.stores.embedded._expiry import EXPIRY_SCHEMA, end_inline_photos
from workers.stores.embedded._products import PRODUCTS_SCHEMA, ProductTables
from workers.stores.embedded._shared import SHARED_SCHEMA, SharedState
from workers.stores.embedded._tables import SCHEMA, put_change, read_latest, read_listing
from workers.stores.embedded._writer import GroupWriter

_PAGE_LISTINGS = 256
_IDLE_READERS = 8  # connections that stay open between reads; more threads open more, and close them afterwards


class EmbeddedStore(SharedState, ProductTables, OneByOne):
    """Implements `Store` in one SQLite file. Several processes may open it."""

    def __init__(self, path: Path, inline_photos_s: float | None = None) -> None:
        self._path = path
        self._inline_photos_s = inline_photos_s
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue(_IDLE_READERS)
        self._closed = False
        self._lock = threading.Lock()
        self._writer = GroupWriter(path)
        self._writer.run(_create)

    def apply(self, changes: Sequence[Change]) -> list[Latest | Invalid | Transient]:
        """See the interface. All changes are in one transaction, so they succeed or fail together."""

        def write(db: sqlite3.Connection) -> list[Latest | Invalid | Transient]:
            outcomes = [put_change(db, change, self._inline_photos_s) for change in changes]
            end_inline_photos(db, 2 * len(changes))
            return list(outcomes)

        try:
            return self._writer.run(write)
        except Transient as why:
            return [why] * len(changes)

    def latest(self, listing_ids: Sequence[str]) -> dict[str, Latest]:
        """See the interface."""
        with self._reader() as db:
            found = {listing_id: read_latest(db, listing_id) for listing_id in listing_ids}
        return {listing_id: latest for listing_id, latest in found.items() if latest is not None}

    def get(
        self, listing_ids: Sequence[str], model_version: str | None = None
    ) -> dict[str, StoredListing | RemovalMarker]:
        """See the interface. All listings are read at the same moment."""
        with self._reader() as db:
            found = {listing_id: read_listing(db, listing_id, model_version) for listing_id in listing_ids}
        return {listing_id: listing for listing_id, listing in found.items() if listing is not None}

    def thumbnail(self, listing_id: str, image_id: str) -> bytes | None:
        """See the interface."""
        with self._reader() as db:
            row = db.execute(
                "SELECT body FROM thumbnails WHERE listing_id = ? AND image_id = ?", (listing_id, image_id)
            ).fetchone()
        return None if row is None else bytes(row[0])

    def scan(self, model_version: str | None = None) -> Iterator[StoredListing | RemovalMarker]:
        """See the interface. It reads page by page, so that a long scan blocks nobody. A page is read at one moment."""
        after = ""
        while True:
            with self._reader() as db:
                ids = db.execute(
                    "SELECT listing_id FROM latest WHERE listing_id > ? ORDER BY listing_id LIMIT ?",
                    (after, _PAGE_LISTINGS),
                ).fetchall()
                page = [read_listing(db, listing_id, model_version) for (listing_id,) in ids]
            yield from (listing for listing in page if listing is not None)
            if len(ids) < _PAGE_LISTINGS:
                return
            after = ids[-1][0]

    def close(self) -> None:
        """See the interface. Running reads finish first."""
        with self._lock:
            self._closed = True
        self._writer.close()
        while not self._readers.empty():
            self._readers.get_nowait().close()

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        """A connection with an open read transaction."""
        self._check_open()
        try:
            db = self._readers.get_nowait()
        except queue.Empty:
            db = connect(self._path, "NORMAL")
        try:
            with transient(self._path), transaction(db, "DEFERRED"):
                yield db
        finally:
            self._give_back(db)

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("read after close")

    def _give_back(self, db: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed:
                try:
                    self._readers.put_nowait(db)
                    return
                except queue.Full:
                    pass
        db.close()


def _create(db: sqlite3.Connection) -> None:
    for statement in (SCHEMA + SHARED_SCHEMA + EXPIRY_SCHEMA + PRODUCTS_SCHEMA).split(";"):
        db.execute(statement)
