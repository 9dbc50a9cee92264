"""The consumer of the embedded log. It reads the partitions that this member owns."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from workers.sqlite import transient
from workers.streams._changes import Changes
from workers.streams.base import Partition, RebalanceListener, Record
from workers.streams.embedded._group import GroupMember
from workers.streams.embedded._log import Slot, open_log, records_from

_LOOKS = 20  # in a poll that finds nothing: one that may wait for long looks less often
_LOOK_EVERY_S = 0.005  # how often it checks the file for a change at most; a thread that wakes up takes 50 to 80 µs
_LOOK_AT_LEAST_S = 0.05
_HEARTBEATS_A_LEASE = 10
_MAX_HEARTBEAT_S = 1.0  # a killed process is noticed within this
_FETCH_MAX_BYTES = 50 * 1024 * 1024  # of values that one poll returns, as Kafka's fetch.max.bytes


class EmbeddedConsumer:
    """A member of a group. Implements `Consumer`. It joins at the first poll, and takes a new id after it was
    expelled."""

    def __init__(
        self,
        group: str,
        topics: Sequence[str],
        listener: RebalanceListener,
        inherit: str = "",
        *,
        path: Path,
        worker: str,
        lease_s: float,
    ) -> None:
        self._path = path
        self._worker = worker
        self._lease_s = lease_s
        self._group = group
        self._topics = tuple(topics)
        self._listener = listener
        self._inherit = inherit
        self._changes = Changes(worker, group)
        self._heartbeat_s = min(_MAX_HEARTBEAT_S, lease_s / _HEARTBEATS_A_LEASE)
        self._member: GroupMember | None = None
        self._owned: dict[Partition, Slot] = {}
        self._next: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        self._generation = -1
        self._heartbeat_due = 0.0
        self._data_version = -1
        self._more = True  # a fetch may find records: the file changed, or the last fetch was limited
        self._first = 0  # which partition is read first; it changes, so that a full one does not block others
        self._closed = False
        with transient(path):
            self._db = open_log(path, "NORMAL")

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """See the interface. It wakes within 5 ms of a send by any process; with a time-out of more than 0.1 s within a
        twentieth of that, and at most 50 ms."""
        if self._closed:
            raise ValueError("poll after close")
        deadline = time.monotonic() + timeout_s
        look_s = min(max(_LOOK_EVERY_S, timeout_s / _LOOKS), _LOOK_AT_LEAST_S)
        with transient(self._path):
            while True:
                self._look()
                records = self._fetch(max_records) if self._more else []
                left = deadline - time.monotonic()
                if records or left <= 0:
                    return records
                time.sleep(min(look_s, left))

    @property
    def joined(self) -> bool:
        """See the interface."""
        return self._member is not None

    def commit(self, next_offsets: Mapping[Partition, int]) -> None:
        """See the interface. One transaction checks the ownership and stores the offsets."""
        slots = {self._owned[p]: offset for p, offset in next_offsets.items() if p in self._owned}
        if slots and self._member is not None and not self._closed:
            with transient(self._path):
                self._member.commit(slots)

    def pause(self, partitions: Iterable[Partition]) -> None:
        """See the interface. Partitions that are not assigned are ignored."""
        self._paused |= set(partitions) & self._owned.keys()

    def resume(self, partitions: Iterable[Partition]) -> None:
        """See the interface."""
        self._paused -= set(partitions)
        self._more = True

    def close(self) -> None:
        """See the interface. The listener is not called."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._member is not None:
                with transient(self._path):
                    self._member.leave()
        finally:
            self._db.close()
            self._forget(frozenset(self._owned))

    def _look(self) -> None:
        """Notice a change of the file or of the group, and send a heartbeat when it is due."""
        version = self._db.execute("PRAGMA data_version").fetchone()[0]
        changed = version != self._data_version
        if changed:
            self._data_version = version
            self._more = True
        due = time.monotonic() >= self._heartbeat_due
        while due or (changed and self._member is not None and self._member.generation() != self._generation):
            due = self._synchronise()
            changed = True
        self._changes.tell(self._owned)

    def _synchronise(self) -> bool:
        """Send one heartbeat and apply its answer. Returns True if the caller must look again at once."""
        if self._member is None:
            self._member = GroupMember(self._db, self._group, self._new_id(), self._lease_s)
            self._member.join(self._worker, self._topics)
        view = self._member.heartbeat()
        self._generation = view.generation
        self._heartbeat_due = time.monotonic() + self._heartbeat_s
        lost = frozenset(self._owned.keys() - view.owned.keys())
        if lost:
            self._forget(lost)
            self._changes.add("lost", lost)
            self._listener.lost(lost)
        if not view.member:
            self._member = None
            return True
        new = frozenset(view.owned.keys() - self._owned.keys() - view.leaving)
        if new and self._inherit:
            self._member.take_over([view.owned[p] for p in new], self._inherit)
        for partition in new:
            self._owned[partition] = view.owned[partition]
            self._next[partition] = self._member.committed(view.owned[partition])
        if new:
            self._more = True
            self._changes.add("got", new)
            self._listener.assigned(new)
        if view.leaving:
            self._changes.add("gave up", view.leaving)
            self._listener.revoked(view.leaving)
            self._forget(view.leaving)
            self._member.release([view.owned[p] for p in view.leaving])
        return bool(view.leaving)

    def _forget(self, partitions: frozenset[Partition]) -> None:
        for partition in partitions:
            self._owned.pop(partition, None)
            self._next.pop(partition, None)
        self._paused -= partitions

    def _fetch(self, max_records: int) -> list[Record]:
        active = sorted(p for p in self._owned if p not in self._paused)
        records: list[Record] = []
        size = 0
        self._more = False
        for step in range(len(active)):
            partition = active[(self._first + step) % len(active)]
            for record in records_from(
                self._db, self._owned[partition], self._next[partition], max_records - len(records)
            ):
                records.append(record)
                self._next[partition] = record.next_offset
                size += len(record.value or b"")
                if size >= _FETCH_MAX_BYTES:
                    break
            if len(records) >= max_records or size >= _FETCH_MAX_BYTES:
                self._more = True
                break
        self._first += 1
        return records

    def _new_id(self) -> str:
        return f"{self._worker}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
