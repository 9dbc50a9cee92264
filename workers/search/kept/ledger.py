"""The file of kept searches and judgements. It is bounded in rows and in days, and what leaves it is overwritten.

SQLite overwrites deleted rows in the file itself (`secure_delete`), but its write-ahead log still has them until the
log is truncated. Every `prune` and `forget` does that.

A search is kept as its time, epoch, hash, best category, best likeness and whether a listing was close; with photos,
also as a copy of 320 pixels. A judgement is kept as what was judged and how. Nothing says who searched or judged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from schemas.errors import Transient
from workers.sqlite import BUSY_TIMEOUT_S, connect, transaction, transient

FILE = "kept.db"
"""The name of the file in a home."""
PHOTO_SIDE = 320
"""The longer side of a kept photo in pixels; networks are trained at 160 to 300."""
MAX_PHOTO_BYTES = 60_000
_DAY_S = 86_400
_PRUNE_EVERY = 100  # writes
_PIECE = 500  # rows that are read at once
_SCHEMA = """
CREATE TABLE IF NOT EXISTS search (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, epoch TEXT NOT NULL, hash TEXT NOT NULL, box TEXT NOT NULL,
    close INTEGER NOT NULL, likeness REAL NOT NULL, category TEXT, listing_id TEXT, photo BLOB,
    UNIQUE (epoch, hash, box)
);
CREATE TABLE IF NOT EXISTS judgement (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, epoch TEXT NOT NULL, hash TEXT NOT NULL, query_listing TEXT NOT NULL,
    listing_id TEXT NOT NULL, image_id TEXT NOT NULL, head TEXT NOT NULL, label TEXT NOT NULL, right INTEGER NOT NULL,
    UNIQUE (epoch, hash, query_listing, listing_id, image_id, head, label)
);
"""


class KeptSearch(msgspec.Struct, frozen=True, kw_only=True):
    """One search that was kept.

    Attributes:
        at: seconds since 1970.
        hash: 64 hex digits, of the epoch.
        box: left,top,right,bottom as shares of the photo; empty for the whole photo.
        close: whether a listing was near enough to count.
        likeness: of the nearest listing, 0 to 1.
        category: the best one by the vote; None if nothing voted.
        listing_id: the nearest listing.
        photo: WebP bytes; None if photos are not kept.
    """

    at: int
    epoch: str
    hash: str
    box: str = ""
    close: bool
    likeness: float
    category: str | None = None
    listing_id: str | None = None
    photo: bytes | None = None


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A person's word on a search result or on an offered label.

    What was searched with: `hash` of a photo, or `query_listing`. What was judged: `listing_id` (and perhaps
    `image_id`), or `label` of `head`. Fields that do not apply are empty.
    """

    at: int
    epoch: str
    hash: str = ""
    query_listing: str = ""
    listing_id: str = ""
    image_id: str = ""
    head: str = ""
    label: str = ""
    right: bool


class Ledger:
    """The file. Thread-safe; several processes may use it at once."""

    def __init__(
        self,
        path: Path,
        *,
        days: int,
        most: int,
        clock: Callable[[], float] = time.time,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        """Open or create the file, and forget what is too old.

        Args:
            path: of the file.
            days: after which a row is deleted.
            most: rows of each kind; beyond that the oldest are deleted.
            clock: gives seconds since 1970.
            busy_timeout_s: how long a call waits while another process writes. Opening the file may wait longer.

        Raises:
            Transient, ConfigError: as `workers.sqlite.connect`.
        """
        self._path, self._days, self._most, self._clock = path, days, most, clock
        self._lock = threading.Lock()
        self._writes = 0
        self._db = connect(path, "NORMAL")
        with transient(path):
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.executescript(_SCHEMA)
        self.prune()
        self._db.execute(f"PRAGMA busy_timeout = {round(1000 * busy_timeout_s)}")

    def keep(self, search: KeptSearch) -> None:
        """Keep a search. The same photo again replaces the earlier one."""
        self._write(
            "INSERT OR REPLACE INTO search (at, epoch, hash, box, close, likeness, category, listing_id, photo) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            msgspec.structs.astuple(search),
        )

    def judge(self, judgement: Judgement) -> None:
        """Keep a judgement. The last word on the same thing counts."""
        self._write(
            "INSERT OR REPLACE INTO judgement "
            "(at, epoch, hash, query_listing, listing_id, image_id, head, label, right) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            msgspec.structs.astuple(judgement),
        )

    def searches(self, epoch: str | None = None) -> Iterator[KeptSearch]:
        """The kept searches, the oldest first."""
        columns = "at, epoch, hash, box, close, likeness, category, listing_id, photo"
        for row in self._rows("search", columns, epoch):
            at, one, digest, box, close, likeness, category, listing_id, photo = row
            yield KeptSearch(
                at=at,
                epoch=one,
                hash=digest,
                box=box,
                close=bool(close),
                likeness=likeness,
                category=category,
                listing_id=listing_id,
                photo=photo,
            )

    def judgements(self, epoch: str | None = None) -> Iterator[Judgement]:
        """The judgements, the oldest first."""
        columns = "at, epoch, hash, query_listing, listing_id, image_id, head, label, right"
        for *fields, right in self._rows("judgement", columns, epoch):
            names = ("at", "epoch", "hash", "query_listing", "listing_id", "image_id", "head", "label")
            yield Judgement(**dict(zip(names, fields, strict=True)), right=bool(right))

    def prune(self) -> int:
        """Delete what is too old or too much, and what the write-ahead log still has of deleted rows. Returns the
        number of rows. If another process reads just now, the log is truncated at a later call."""
        before = int(self._clock()) - self._days * _DAY_S
        with self._lock, transient(self._path):
            count = 0
            with transaction(self._db):
                for table in ("search", "judgement"):
                    count += self._db.execute(f"DELETE FROM {table} WHERE at < ?", (before,)).rowcount
                    count += self._db.execute(
                        f"DELETE FROM {table} WHERE id <= (SELECT id FROM {table} ORDER BY id DESC LIMIT 1 OFFSET ?)",
                        (self._most,),
                    ).rowcount
            self._truncate_log()
            return count

    def forget(self) -> int:
        """Delete everything. Returns the number of rows.

        Raises:
            Transient: the file is locked, or another process reads it, so that its write-ahead log still has the rows.
        """
        with self._lock, transient(self._path):
            with transaction(self._db):
                count = sum(self._db.execute(f"DELETE FROM {table}").rowcount for table in ("search", "judgement"))
            self._db.execute("VACUUM")
            if not self._truncate_log():
                text = f"{self._path}-wal: another process reads the file, so deleted rows are still there"
                raise Transient("sqlite", "database_unavailable", f"{text}; run this again in a minute")
            return count

    def _truncate_log(self) -> bool:
        """Empty the write-ahead log. False if another process reads it and does not end in time."""
        busy: int = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        return not busy

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._db.close()

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        with self._lock, transient(self._path):
            self._db.execute(statement, values)
            self._writes += 1
            due = self._writes % _PRUNE_EVERY == 0
        if due:
            with suppress(Transient):  # the row is kept; a later call prunes
                self.prune()

    def _rows(self, table: str, columns: str, epoch: str | None) -> Iterator[tuple[Any, ...]]:
        """The rows by id, in pieces, so that a reader of millions holds no lock."""
        statement = f"SELECT id, {columns} FROM {table} WHERE id > ? AND (? IS NULL OR epoch = ?) ORDER BY id LIMIT ?"
        last = 0
        while True:
            with self._lock, transient(self._path):
                rows = self._db.execute(statement, (last, epoch, epoch, _PIECE)).fetchall()
            for row in rows:
                last = row[0]
                yield row[1:]
            if not rows:
                return
