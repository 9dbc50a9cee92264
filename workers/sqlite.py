"""Helpers of the embedded back ends: SQLite files in WAL mode, which several threads and processes open at once.

Durability. Writers of records and rows use `synchronous=FULL`, so each commit syncs the write-ahead log. Neither
kill -9 nor a power failure then loses acknowledged data, provided that the disk really writes on fsync. Consumers use
NORMAL. With it, kill -9 loses nothing, because the pages are in the system's cache. A power failure may undo the last
offset commits; their records are then delivered again, as at-least-once delivery allows. In both modes a transaction is
stored whole or not at all.

The files must be on a local disk, because WAL needs shared memory, which network file systems do not offer.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl

from schemas.errors import ConfigError, Transient

BUSY_TIMEOUT_S = 30.0  # a batch takes milliseconds; after this time the writer is stuck
_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})
"""What SQLite says on a full disk, or beyond a quota; of the shared memory of the write-ahead log as well."""
_PAGE_BYTES = 8192  # of a new file: a row with an inline photo takes a tenth less processor time than with 4,096
_JOURNAL_LIMIT_BYTES = 64 * 1024 * 1024  # the write-ahead log is truncated to this after a checkpoint


def parse_url(url: str, key: str) -> tuple[Path, dict[str, str]]:
    """Split `sqlite:///ABS/PATH?name=value` into the absolute path and its options.

    Raises:
        ConfigError: the URL has another form. The message names `key`, the setting that has the URL.
    """
    scheme, _, rest = url.partition("://")
    path, _, query = rest.partition("?")
    if scheme != "sqlite" or not path.startswith("/") or path.strip("/") == "":
        raise ConfigError(f"{key}: {url!r} is wrong; write sqlite:///ABSOLUTE/PATH/file.db")
    return Path("/" + path.lstrip("/")), dict(parse_qsl(query, keep_blank_values=True))


def connect(
    path: Path, synchronous: Literal["FULL", "NORMAL"], busy_timeout_s: float = BUSY_TIMEOUT_S
) -> sqlite3.Connection:
    """Open a file in WAL mode with autocommit. Only one thread at a time may use the connection.

    Raises:
        Transient: the file cannot be opened.
        ConfigError: the file is not a database, or it is damaged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Transient("sqlite", "database_unavailable", f"{path}: {error}; make its folder writable") from error
    try:
        with transient(path):
            db = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)
            db.execute(f"PRAGMA page_size={_PAGE_BYTES}")  # a file that exists keeps its own
            _set_wal(db, busy_timeout_s)
            db.execute(f"PRAGMA synchronous={synchronous}")
            db.execute(f"PRAGMA journal_size_limit={_JOURNAL_LIMIT_BYTES}")
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"{path}: {error}; put a copy of it back, or move it away to start empty") from error
    return db


def _set_wal(db: sqlite3.Connection, timeout_s: float) -> None:
    """Switch to WAL mode. If several processes create the file at once, SQLite reports busy without waiting, so this
    function waits."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


@contextmanager
def transient(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about a locked, full or unreachable file into Transient. Other errors pass through."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", None) in _FULL:
            text = f"{path}: there is no room on its disk ({error}); free some, and the worker goes on by itself"
            raise Transient("sqlite", "disk_full", text) from error
        text = f"{path}: {error}; check that no other process holds the file"
        raise Transient("sqlite", "database_unavailable", text) from error


@contextmanager
def transaction(db: sqlite3.Connection, mode: Literal["IMMEDIATE", "DEFERRED"] = "IMMEDIATE") -> Iterator[None]:
    """One transaction. IMMEDIATE takes the write lock at the start, so that a later write cannot fail on a lock.
    DEFERRED reads one snapshot."""
    db.execute(f"BEGIN {mode}")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
