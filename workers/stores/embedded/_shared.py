"""The calls of the store that are not about listings: settings, announcements, blobs and the probe."""

from __future__ import annotations

import math
import sqlite3
import time
import uuid
from contextlib import AbstractContextManager
from pathlib import Path

from workers.sqlite import connect, transaction, transient
from workers.stores.base import (
    BLOB_DAYS,
    MAX_BLOB_BYTES,
    PROBE_S,
    Setting,
    check_blob,
    check_name,
    check_value,
    differs,
)
from workers.stores.embedded._expiry import end_inline_photos
from workers.stores.embedded._writer import GroupWriter

SHARED_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, version INTEGER NOT NULL, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS workers (worker TEXT PRIMARY KEY, expires_at REAL NOT NULL, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS blobs (digest TEXT PRIMARY KEY, expires_at REAL NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS blobs_by_end ON blobs (expires_at);
CREATE TABLE IF NOT EXISTS probes (probe TEXT PRIMARY KEY, expires_at REAL NOT NULL, cell TEXT NOT NULL);
"""

_PROBE_WAIT_S = PROBE_S - 0.5  # the longest wait for the file's write lock; the write and its sync are extra
_PROBE_KEPT_S = 600.0
_DAY_S = 86_400.0
_EXPIRED_AT_ONCE = 64  # events of 700 KB each take about 50 ms


class SharedState:
    """The calls of `Store` that are not about listings."""

    _path: Path
    _writer: GroupWriter

    def probe(self) -> None:
        """See the interface. It uses its own connection, because the store's writer waits for a lock much longer."""
        self._check_open()
        key, cell, now = uuid.uuid4().hex, uuid.uuid4().hex, time.time()
        db = connect(self._path, "FULL", _PROBE_WAIT_S)
        try:
            with transient(self._path), transaction(db):
                db.execute("INSERT INTO probes VALUES (?, ?, ?)", (key, now + _PROBE_KEPT_S, cell))
                db.execute("DELETE FROM probes WHERE expires_at < ?", (now,))
            with transient(self._path):
                row = db.execute("SELECT cell FROM probes WHERE probe = ?", (key,)).fetchone()
        finally:
            db.close()
        if row != (cell,):
            raise differs()

    def setting(self, name: str) -> Setting | None:
        """See the interface."""
        check_name(name)
        with self._reader() as db:
            row = db.execute("SELECT value, version FROM settings WHERE name = ?", (name,)).fetchone()
        return None if row is None else Setting(bytes(row[0]), row[1])

    def put_setting(self, name: str, value: bytes, version: int) -> bool:
        """See the interface."""
        check_value(name, value)
        if version == 0:
            text, values = "INSERT OR IGNORE INTO settings VALUES (?, 1, ?)", (name, value)
            return self._writer.run(lambda db: db.execute(text, values).rowcount) == 1
        text = "UPDATE settings SET value = ?, version = version + 1 WHERE name = ? AND version = ?"
        return self._writer.run(lambda db: db.execute(text, (value, name, version)).rowcount) == 1

    def announce(self, worker: str, value: bytes, ttl_s: float) -> None:
        """See the interface. The clock is that of this machine, which all processes share."""
        check_value(worker, value)
        now = time.time()

        def write(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO workers VALUES (?, ?, ?)", (worker, now + math.ceil(ttl_s), value))
            db.execute("DELETE FROM workers WHERE expires_at < ?", (now,))
            end_inline_photos(db, _EXPIRED_AT_ONCE)  # a store that is not written to must end them as well

        self._writer.run(write)

    def announced(self) -> dict[str, bytes]:
        """See the interface."""
        with self._reader() as db:
            rows = db.execute("SELECT worker, value FROM workers WHERE expires_at > ?", (time.time(),)).fetchall()
        return {worker: bytes(value) for worker, value in rows}

    def withdraw(self, worker: str) -> None:
        """See the interface."""
        check_name(worker)
        self._writer.run(lambda db: db.execute("DELETE FROM workers WHERE worker = ?", (worker,)))

    def keep_blob(self, data: bytes) -> str:
        """See the interface. It also removes expired blobs."""
        digest = check_blob(data, MAX_BLOB_BYTES)
        now = time.time()

        def write(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?)", (digest, now + BLOB_DAYS * _DAY_S, data))
            db.execute("DELETE FROM blobs WHERE expires_at < ?", (now,))

        self._writer.run(write)
        return digest

    def blob(self, digest: str) -> bytes | None:
        """See the interface."""
        with self._reader() as db:
            row = db.execute("SELECT body FROM blobs WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else bytes(row[0])

    def _reader(self) -> AbstractContextManager[sqlite3.Connection]:
        raise NotImplementedError

    def _check_open(self) -> None:
        raise NotImplementedError
