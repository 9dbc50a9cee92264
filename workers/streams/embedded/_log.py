"""The tables of the log, and functions that read and append records inside the caller's transaction.

A record's position is one integer, partition id * 2**40 + offset. It is the primary key of the table, so the records
of a partition are stored together in offset order and need no second index.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from schemas.envelope import Headers
from schemas.errors import ConfigError
from workers.sqlite import connect, transaction, transient
from workers.streams.base import Partition, Record

OFFSET_BITS = 40  # allows 10**12 records a partition and 4 million partitions
COMPACTION_LAG_MS = 60_000  # a replaced record stays this long, so that a running reader still finds its key
TOMBSTONE_KEEP_MS = 24 * 3600 * 1000  # Kafka's delete.retention.ms; a reader further behind may miss a deletion

_SCHEMA = """
CREATE TABLE IF NOT EXISTS topics (
    name TEXT PRIMARY KEY, partitions INTEGER NOT NULL, compacted INTEGER NOT NULL, retention_ms INTEGER
);
CREATE TABLE IF NOT EXISTS partitions (
    id INTEGER PRIMARY KEY, topic TEXT NOT NULL, number INTEGER NOT NULL, next_offset INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic, number)
);
CREATE TABLE IF NOT EXISTS records (
    position INTEGER PRIMARY KEY, timestamp_ms INTEGER NOT NULL, key BLOB, value BLOB, headers BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS last_of_key (
    partition INTEGER NOT NULL, key BLOB NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (partition, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS garbage (position INTEGER PRIMARY KEY, due_ms INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS garbage_due ON garbage (due_ms);
CREATE TABLE IF NOT EXISTS groups (name TEXT PRIMARY KEY, generation INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS members (
    seq INTEGER PRIMARY KEY, group_name TEXT NOT NULL, id TEXT NOT NULL UNIQUE, worker TEXT NOT NULL,
    space TEXT NOT NULL, pid INTEGER NOT NULL, started INTEGER NOT NULL, lease_until_ms INTEGER NOT NULL,
    topics BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS ownership (
    group_name TEXT NOT NULL, partition INTEGER NOT NULL, owner TEXT, target TEXT,
    PRIMARY KEY (group_name, partition)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS commits (
    group_name TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    PRIMARY KEY (group_name, partition)
) WITHOUT ROWID;
"""

_headers_decoder = msgspec.msgpack.Decoder(tuple[tuple[str, bytes], ...])


class Slot(NamedTuple):
    """A partition as the log keeps it."""

    id: int
    partition: Partition

    @property
    def first(self) -> int:
        """Position of offset 0."""
        return self.id << OFFSET_BITS


class Unsent(NamedTuple):
    """A record that is about to be appended to the log."""

    slot: Slot
    compacted: bool
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def open_log(path: Path, synchronous: Literal["FULL", "NORMAL"]) -> sqlite3.Connection:
    """Open the log, and create it if it does not exist. Raises Transient."""
    db = connect(path, synchronous)
    with transient(path):
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'commits'").fetchone() is None:
            with transaction(db):
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
    return db


def slots_of(db: sqlite3.Connection, topic: str) -> list[Slot]:
    """The partitions of a topic in order. Raises ConfigError if the topic does not exist."""
    rows = db.execute("SELECT id, topic, number FROM partitions WHERE topic = ? ORDER BY number", (topic,))
    slots = [Slot(id_, Partition(name, number)) for id_, name, number in rows]
    if not slots:
        raise ConfigError(f"topic {topic!r} does not exist; create it first (StreamAdmin.ensure_topics)")
    return slots


def records_from(
    db: sqlite3.Connection, slot: Slot, start: int, limit: int, stop: int | None = None
) -> Iterator[Record]:
    """Up to `limit` records of one partition with start <= offset < stop, in offset order."""
    end = slot.first + ((1 << OFFSET_BITS) if stop is None else stop)
    rows = db.execute(
        "SELECT position, timestamp_ms, key, value, headers FROM records"
        " WHERE position >= ? AND position < ? ORDER BY position LIMIT ?",
        (slot.first + start, end, limit),
    )
    for position, timestamp_ms, key, value, headers in rows:
        decoded = _headers_decoder.decode(headers)
        yield Record(slot.partition, position - slot.first, timestamp_ms, key, value, decoded)


def first_timestamp_ms(db: sqlite3.Connection, slot: Slot, start: int) -> int | None:
    """The timestamp of the first record of a partition with start <= offset, in ms since the epoch, UTC. None if there
    is no such record. It reads no value."""
    row = db.execute(
        "SELECT timestamp_ms FROM records WHERE position >= ? AND position < ? ORDER BY position LIMIT 1",
        (slot.first + start, slot.first + (1 << OFFSET_BITS)),
    ).fetchone()
    return None if row is None else int(row[0])


def append(db: sqlite3.Connection, batch: Sequence[Unsent]) -> None:
    """Append records in order, with contiguous offsets in each partition. The caller holds the write transaction."""
    next_offset: dict[int, int] = {}
    for slot_id in {record.slot.id for record in batch}:
        row = db.execute("SELECT next_offset FROM partitions WHERE id = ?", (slot_id,)).fetchone()
        next_offset[slot_id] = row[0]
    rows: list[tuple[int, int, bytes | None, bytes | None, bytes]] = []
    for record in batch:
        slot_id = record.slot.id
        position = record.slot.first + next_offset[slot_id]
        next_offset[slot_id] += 1
        headers = msgspec.msgpack.encode(record.headers)
        rows.append((position, record.timestamp_ms, record.key, record.value, headers))
        if record.compacted:
            _replace_key(db, record, position)
    db.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?)", rows)
    db.executemany(
        "UPDATE partitions SET next_offset = ? WHERE id = ?", [(n, slot_id) for slot_id, n in next_offset.items()]
    )


def _replace_key(db: sqlite3.Connection, record: Unsent, position: int) -> None:
    """Note which records of a compacted topic can be deleted later: the key's previous record, and a tombstone after
    one day."""
    due = "INSERT INTO garbage {} ON CONFLICT (position) DO UPDATE SET due_ms = min(due_ms, excluded.due_ms)"
    select = "SELECT position, ? FROM last_of_key WHERE partition = ? AND key = ?"
    slot_id, key, now = record.slot.id, record.key, record.timestamp_ms
    db.execute(due.format(select), (now + COMPACTION_LAG_MS, slot_id, key))
    db.execute(
        "INSERT INTO last_of_key VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET position = excluded.position",
        (slot_id, key, position),
    )
    if record.value is None:
        db.execute(due.format("VALUES (?, ?)"), (position, now + TOMBSTONE_KEEP_MS))


def compact(db: sqlite3.Connection, now_ms: int, limit: int) -> int:
    """Delete up to `limit` records whose compaction is due at `now_ms` (since the epoch, UTC), in the caller's
    transaction.

    The last record of a key stays; a tombstone stays for TOMBSTONE_KEEP_MS. Offsets then have gaps, as in Kafka.
    Returns the number of entries that were handled, which is at most `limit`.
    """
    rows = db.execute("SELECT position FROM garbage WHERE due_ms <= ? LIMIT ?", (now_ms, limit)).fetchall()
    for (position,) in rows:
        found = db.execute("DELETE FROM records WHERE position = ? RETURNING key", (position,)).fetchone()
        if found is not None:
            db.execute(
                "DELETE FROM last_of_key WHERE partition = ? AND key = ? AND position = ?",
                (position >> OFFSET_BITS, found[0], position),
            )
    db.executemany("DELETE FROM garbage WHERE position = ?", rows)
    return len(rows)


def expire(db: sqlite3.Connection, now_ms: int, limit: int) -> int:
    """Delete up to `limit` records that are older than their topic's retention at `now_ms` (since the epoch, UTC), in
    the caller's transaction. The oldest go first. Returns the number of deleted records."""
    slots = db.execute(
        "SELECT p.id, t.retention_ms FROM partitions p JOIN topics t ON t.name = p.topic"
        " WHERE t.retention_ms IS NOT NULL"
    ).fetchall()
    gone = 0
    for slot_id, retention_ms in slots:
        first = slot_id << OFFSET_BITS
        rows = db.execute(
            "SELECT position, timestamp_ms FROM records WHERE position >= ? AND position < ? ORDER BY position LIMIT ?",
            (first, first + (1 << OFFSET_BITS), limit - gone),
        )
        old: list[tuple[int]] = []
        for position, timestamp_ms in rows:
            if timestamp_ms >= now_ms - retention_ms:
                break
            old.append((position,))
        db.executemany("DELETE FROM records WHERE position = ?", old)
        gone += len(old)
        if gone >= limit:
            break
    return gone
