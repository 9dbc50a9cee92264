"""Topics and offsets of the embedded log."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from schemas.errors import ConfigError, Transient
from schemas.topics import AFTER_FAILURE
from workers.sqlite import transaction, transient
from workers.streams.base import Partition, Record, TopicSpec
from workers.streams.embedded._log import Slot, compact, expire, first_timestamp_ms, open_log, records_from, slots_of

_PAGE_RECORDS = 500
_LEAST_ROOM = 4_000_000  # bytes: what the write-ahead log grows to before it is used again


class EmbeddedAdmin:
    """Implements `StreamAdmin`. Thread-safe. `read` keeps no transaction open between two pages."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._db = open_log(path, "FULL")

    def ensure_topics(self, topics: Sequence[TopicSpec]) -> None:
        """See the interface. It creates all topics or none."""
        with self._lock, transient(self._path), transaction(self._db):
            for spec in topics:
                self._ensure(spec)

    def set_retention(self, topic: str, retention_ms: int) -> None:
        """See the interface."""
        with self._lock, transient(self._path), transaction(self._db):
            text = "UPDATE topics SET retention_ms = ? WHERE name = ? AND NOT compacted"
            if self._db.execute(text, (retention_ms, topic)).rowcount != 1:
                raise ConfigError(f"topic {topic!r} does not exist or is compacted; see `groknet topics`")

    def topics(self) -> frozenset[str]:
        """See the interface."""
        with self._lock, transient(self._path):
            return frozenset(name for (name,) in self._db.execute("SELECT name FROM topics"))

    def end_offsets(self, topic: str) -> dict[Partition, int]:
        """See the interface. Raises ConfigError for an unknown topic."""
        with self._lock, transient(self._path):
            ids = {slot.id: slot.partition for slot in slots_of(self._db, topic)}
            rows = self._db.execute("SELECT id, next_offset FROM partitions WHERE topic = ?", (topic,))
            return {ids[id_]: next_offset for id_, next_offset in rows}

    def probe(self, topic: str) -> None:
        """See the interface."""
        self.end_offsets(topic)
        there = os.statvfs(self._path.parent)
        left = there.f_bavail * there.f_frsize
        if left < _LEAST_ROOM:
            room = f"{left / 1e6:.1f} MB are left, {_LEAST_ROOM / 1e6:g} needed"
            text = f"{self._path}: there is no room on its disk ({room}); free some, and the worker goes on by itself"
            raise Transient("sqlite", "disk_full", text)

    def committed(self, group: str, topic: str) -> dict[Partition, int]:
        """See the interface."""
        with self._lock, transient(self._path):
            rows = self._db.execute(
                "SELECT p.topic, p.number, c.next_offset FROM commits c JOIN partitions p ON p.id = c.partition"
                " WHERE c.group_name = ? AND p.topic = ?",
                (group, topic),
            )
            return {Partition(name, number): next_offset for name, number, next_offset in rows}

    def timestamps_ms(self, positions: Mapping[Partition, int]) -> dict[Partition, int]:
        """See the interface."""
        found: dict[Partition, int] = {}
        with self._lock, transient(self._path):
            for topic in {partition.topic for partition in positions}:
                for slot in slots_of(self._db, topic):
                    if slot.partition in positions:
                        row = first_timestamp_ms(self._db, slot, positions[slot.partition])
                        found.update({} if row is None else {slot.partition: row})
        return found

    def read(self, topic: str, start: Mapping[Partition, int] | None = None) -> Iterator[Record]:
        """See the interface. It reads one partition after another."""
        ends = self.end_offsets(topic)
        with self._lock, transient(self._path):
            slots = slots_of(self._db, topic)
        return self._pages([(slot, (start or {}).get(slot.partition, 0), ends[slot.partition]) for slot in slots])

    def compact(self, now_ms: int) -> int:
        """Run all compaction and retention that is due at `now_ms`, in ms since the epoch, UTC. Returns the number of
        deleted records.

        The writer of every producer does the same in bounded steps. Only a tool that cannot wait needs this call.
        """
        with self._lock, transient(self._path):
            gone = 0
            while True:
                with transaction(self._db):
                    step = compact(self._db, now_ms, _PAGE_RECORDS) + expire(self._db, now_ms, _PAGE_RECORDS)
                if not step:
                    return gone
                gone += step

    def close(self) -> None:
        """See the interface."""
        with self._lock:
            self._db.close()

    def _pages(self, spans: Sequence[tuple[Slot, int, int]]) -> Iterator[Record]:
        for slot, begin, end in spans:
            offset = begin
            while offset < end:
                with self._lock, transient(self._path):
                    page = list(records_from(self._db, slot, offset, _PAGE_RECORDS, stop=end))
                if not page:
                    break
                yield from page
                offset = page[-1].next_offset

    def _ensure(self, spec: TopicSpec) -> None:
        wanted = (spec.partitions, int(spec.compacted), spec.retention_ms)
        present = self._db.execute(
            "SELECT partitions, compacted, retention_ms FROM topics WHERE name = ?", (spec.name,)
        ).fetchone()
        if present is None:
            self._db.execute("INSERT INTO topics VALUES (?, ?, ?, ?)", (spec.name, *wanted))
            self._db.executemany(
                "INSERT INTO partitions (topic, number) VALUES (?, ?)", [(spec.name, n) for n in range(spec.partitions)]
            )
        elif present[2] != spec.retention_ms and tuple(present)[:2] == wanted[:2] and spec.name in AFTER_FAILURE:
            raise ConfigError(
                f"topic {spec.name!r} keeps its records for {present[2]} ms, wanted {spec.retention_ms}; set it with"
                " `groknet topics apply`"
            )
        elif tuple(present) != wanted:
            raise ConfigError(
                f"topic {spec.name!r} has (partitions, compacted, retention_ms) {tuple(present)}, wanted {wanted};"
                " the number of partitions decides where keys go: use the topic's values, or choose a new name"
            )
