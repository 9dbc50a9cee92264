"""The producer of the embedded log. It collects records in batches, and one writer thread commits a batch in one
transaction.

The sync to disk takes most of the time. While one batch syncs, the next one fills. So throughput grows with load, and a
single send still waits for only one sync.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from pathlib import Path

from schemas.envelope import Headers
from schemas.errors import Invalid, Reject, Transient
from workers.sqlite import transaction, transient
from workers.streams.embedded._log import Slot, Unsent, append, compact, expire, open_log, slots_of
from workers.streams.embedded._partitioner import partition_of

_BATCH_RECORDS = 1000  # one transaction holds the file's write lock for about 10 ms at most
_BATCH_BYTES = 8 * 1024 * 1024
_BUFFER_RECORDS = 20_000  # beyond it send raises Reject; twenty batches are some seconds of work
_BUFFER_BYTES = 64 * 1024 * 1024
_CLOSE_TIMEOUT_S = 60.0  # twice the time that the writer waits for a locked file
_MAINTAIN_EVERY_S = 1.0
_MAINTAIN_RECORDS = 2000  # at most this many are deleted a second by compaction, and as many by retention


class _Batch:
    """The records of one transaction, and its outcome."""

    def __init__(self) -> None:
        self.records: list[Unsent] = []
        self.bytes = 0
        self.done = threading.Event()
        self.error: BaseException | None = None

    def wait(self, timeout_s: float) -> None:
        """See `Delivery.wait`. An error that is not Transient is an internal error or a damaged file."""
        if not self.done.wait(timeout_s):
            text = f"the record is not durable within {timeout_s} s but may be later: wait again, or send it again"
            raise Transient("stream", "delivery_timeout", text)
        if isinstance(self.error, Transient):
            raise Transient(self.error.stage, self.error.error, self.error.message) from self.error
        if self.error is not None:
            raise RuntimeError(f"the log refused a batch: {self.error}") from self.error


class EmbeddedProducer:
    """Sends records. Implements `Producer`. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._condition = threading.Condition()
        self._waiting: deque[_Batch] = deque()
        self._writing: _Batch | None = None
        self._failed: _Batch | None = None  # the first batch that failed since the last flush
        self._buffered = 0
        self._buffered_bytes = 0
        self._closed = False
        self._turn = 0
        self._topics: dict[str, tuple[list[Slot], bool]] = {}
        self._db = open_log(path, "FULL")
        self._lookup = open_log(path, "NORMAL")
        self._thread = threading.Thread(target=self._run, name="stream-writer", daemon=True)
        self._thread.start()

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = ()) -> _Batch:
        """See the interface."""
        with self._condition:
            if self._closed:
                raise ValueError("send after close")
            slots, compacted = self._topic(topic)
            if key is None and compacted:
                raise Invalid("stream", "key_missing", f"topic {topic!r} is compacted: every record needs a key")
            size = len(key or b"") + len(value or b"")
            if self._buffered >= _BUFFER_RECORDS or self._buffered_bytes + size > _BUFFER_BYTES:
                raise Reject(
                    f"stream: {self._buffered} records ({self._buffered_bytes} bytes) wait for the disk; slow down"
                )
            if key is None:
                self._turn += 1
                slot = slots[self._turn % len(slots)]
            else:
                slot = slots[partition_of(key, len(slots))]
            batch = self._waiting[-1] if self._waiting else None
            if batch is None or len(batch.records) >= _BATCH_RECORDS or batch.bytes + size > _BATCH_BYTES:
                batch = _Batch()
                self._waiting.append(batch)
                self._condition.notify_all()
            batch.records.append(Unsent(slot, compacted, time.time_ns() // 1_000_000, key, value, tuple(headers)))
            batch.bytes += size
            self._buffered += 1
            self._buffered_bytes += size
            return batch

    def flush(self, timeout_s: float) -> None:
        """See the interface. Raises the first error of a batch since the last flush."""
        deadline = time.monotonic() + timeout_s
        with self._condition:
            batches = [*([self._writing] if self._writing else []), *self._waiting]
        for batch in batches:
            if not batch.done.wait(max(0.0, deadline - time.monotonic())):
                batch.wait(0.0)
        with self._condition:
            failed, self._failed = self._failed, None
        if failed is not None:
            failed.wait(0.0)

    def close(self) -> None:
        """See the interface. Raises the same errors as `flush`, and releases all resources even then."""
        with self._condition:
            if self._closed:
                return
            self._closed = True
            self._condition.notify_all()
        self._thread.join(_CLOSE_TIMEOUT_S)
        self._lookup.close()
        if not self._thread.is_alive():
            self._db.close()
        self.flush(0.0)

    def _topic(self, topic: str) -> tuple[list[Slot], bool]:
        known = self._topics.get(topic)
        if known is None:
            with transient(self._path):
                slots = slots_of(self._lookup, topic)
                row = self._lookup.execute("SELECT compacted FROM topics WHERE name = ?", (topic,)).fetchone()
            known = self._topics[topic] = slots, bool(row[0])
        return known

    def _run(self) -> None:
        maintain_at = time.monotonic()
        while True:
            with self._condition:
                if not self._waiting:
                    if self._closed:
                        return
                    self._condition.wait(_MAINTAIN_EVERY_S)
                self._writing = self._waiting.popleft() if self._waiting else None
            if self._writing is not None:
                self._write(self._writing)
            if time.monotonic() >= maintain_at and not self._closed:
                self._maintain()
                maintain_at = time.monotonic() + _MAINTAIN_EVERY_S

    def _write(self, batch: _Batch) -> None:
        try:
            with transient(self._path), transaction(self._db):
                append(self._db, batch.records)
        except Exception as error:  # the threads that wait for the batch raise it
            batch.error = error
        with self._condition:
            self._writing = None
            self._failed = self._failed or (batch if batch.error else None)
            self._buffered -= len(batch.records)
            self._buffered_bytes -= batch.bytes
        batch.done.set()

    def _maintain(self) -> None:
        """Do a bounded step of compaction and retention. It does not sync the disk if there is nothing to do."""
        now = time.time_ns() // 1_000_000
        try:
            due = self._db.execute("SELECT 1 FROM garbage WHERE due_ms <= ? LIMIT 1", (now,)).fetchone()
            if due is not None:
                with transaction(self._db):
                    compact(self._db, now, _MAINTAIN_RECORDS)
            with transaction(self._db):
                expire(self._db, now, _MAINTAIN_RECORDS)
        except sqlite3.OperationalError:
            return  # the file is locked or the disk full: the next turn tries again, and a send reports it
