"""Decides which offset may be committed: the one after the last record before which every record is finished."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from workers.streams.base import Partition, Record


@dataclass(slots=True)
class Ticket:
    """One record in hand, and its place among the records of its partition."""

    partition: PartitionOffsets
    next_offset: int
    finished: bool = False

    def finish(self) -> None:
        """Note that every effect of this record is durable."""
        self.partition.finish(self)

    def take_back(self) -> None:
        """Undo `take` of the newest record of the partition, which was not processed after all."""
        self.partition.take_back(self)


class PartitionOffsets:
    """The records in hand of one partition, from its assignment to its loss. Thread-safe.

    A partition that is lost and assigned again gets a new object. So a record of the old assignment cannot mark an
    offset of the new one as finished.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: deque[Ticket] = deque()
        self._next: int | None = None

    def take(self, record: Record) -> Ticket:
        """Note a record that was polled. Call it in the order of the offsets."""
        ticket = Ticket(self, record.next_offset)
        with self._lock:
            self._open.append(ticket)
        return ticket

    def take_back(self, ticket: Ticket) -> None:
        """Undo `take` of the newest ticket; its record will be taken again."""
        with self._lock:
            if not self._open or self._open[-1] is not ticket:
                raise ValueError("only the newest ticket of a partition can be taken back")
            self._open.pop()

    def finish(self, ticket: Ticket) -> None:
        """Note that every effect of this record is durable."""
        with self._lock:
            ticket.finished = True
            while self._open and self._open[0].finished:
                self._next = self._open.popleft().next_offset

    def to_commit(self) -> int | None:
        """The next offset to commit; None if nothing new is finished. Call `restore` if the commit fails."""
        with self._lock:
            value, self._next = self._next, None
            return value

    def restore(self, next_offset: int) -> None:
        """Offer an offset again after a failed commit, unless a later offset is already offered."""
        with self._lock:
            if self._next is None:
                self._next = next_offset

    @property
    def gap(self) -> int:
        """Offsets from the oldest record in hand to the newest."""
        with self._lock:
            return self._open[-1].next_offset - self._open[0].next_offset + 1 if self._open else 0

    @property
    def idle(self) -> bool:
        """True if nothing is in hand."""
        with self._lock:
            return not self._open


class Offsets:
    """The offsets of all assigned partitions. Only the polling thread may call it."""

    def __init__(self) -> None:
        self._partitions: dict[Partition, PartitionOffsets] = {}

    def of(self, partition: Partition) -> PartitionOffsets:
        """The offsets of a partition, created at the first call."""
        return self._partitions.setdefault(partition, PartitionOffsets())

    def drop(self, partitions: frozenset[Partition]) -> None:
        """Forget partitions that are no longer assigned."""
        for partition in partitions:
            self._partitions.pop(partition, None)

    def to_commit(self, among: frozenset[Partition] | None = None) -> dict[Partition, int]:
        """The offsets that can be committed now, by partition."""
        offers = {p: o.to_commit() for p, o in self._partitions.items() if among is None or p in among}
        return {p: value for p, value in offers.items() if value is not None}

    def restore(self, offers: dict[Partition, int]) -> None:
        """Offer the offsets of a failed commit again."""
        for partition, value in offers.items():
            if partition in self._partitions:
                self._partitions[partition].restore(value)

    @property
    def gap(self) -> int:
        """The largest gap of all partitions."""
        return max((o.gap for o in self._partitions.values()), default=0)

    def idle(self, among: frozenset[Partition]) -> bool:
        """True if none of these partitions has a record in hand."""
        return all(self._partitions[p].idle for p in among if p in self._partitions)
