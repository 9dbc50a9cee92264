"""Which offset may be committed: the end of the unbroken run of finished records of a partition."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from workers.streams.base import Partition, Record


@dataclass(slots=True)
class Ticket:
    """One record in hand: its place among those of its partition."""

    partition: PartitionOffsets
    next_offset: int
    finished: bool = False

    def finish(self) -> None:
        """Every effect of this record is durable."""
        self.partition.finish(self)

    def take_back(self) -> None:
        """It was taken last of its partition, and is not in hand after all."""
        self.partition.take_back(self)


class PartitionOffsets:
    """The records of one partition, from one assignment of it to its loss. Thread-safe.

    A partition that leaves and comes back gets a new object, so that what was in hand before cannot mark
    an offset of the new assignment.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: deque[Ticket] = deque()
        self._next: int | None = None

    def take(self, record: Record) -> Ticket:
        """Note a record that was polled; call in offset order."""
        ticket = Ticket(self, record.next_offset)
        with self._lock:
            self._open.append(ticket)
        return ticket

    def take_back(self, ticket: Ticket) -> None:
        """The newest ticket was not used; its record will be taken again."""
        with self._lock:
            if not self._open or self._open[-1] is not ticket:
                raise ValueError("only the newest ticket of a partition can be taken back")
            self._open.pop()

    def finish(self, ticket: Ticket) -> None:
        """Every effect of this record is durable."""
        with self._lock:
            ticket.finished = True
            while self._open and self._open[0].finished:
                self._next = self._open.popleft().next_offset

    def to_commit(self) -> int | None:
        """The next offset to commit, or None when nothing new is finished; hand it back with `restore` on failure."""
        with self._lock:
            value, self._next = self._next, None
            return value

    def restore(self, next_offset: int) -> None:
        """A commit failed: offer the offset again unless a later one is there already."""
        with self._lock:
            if self._next is None:
                self._next = next_offset

    @property
    def gap(self) -> int:
        """Distance in offsets from the oldest record in hand to the newest."""
        with self._lock:
            return self._open[-1].next_offset - self._open[0].next_offset + 1 if self._open else 0

    @property
    def idle(self) -> bool:
        """True when nothing is in hand."""
        with self._lock:
            return not self._open


class Offsets:
    """The partitions that are assigned now. Only the polling thread calls it."""

    def __init__(self) -> None:
        self._partitions: dict[Partition, PartitionOffsets] = {}

    def of(self, partition: Partition) -> PartitionOffsets:
        """The current object of a partition, made at first use."""
        return self._partitions.setdefault(partition, PartitionOffsets())

    def drop(self, partitions: frozenset[Partition]) -> None:
        """Forget partitions that went away."""
        for partition in partitions:
            self._partitions.pop(partition, None)

    def to_commit(self, among: frozenset[Partition] | None = None) -> dict[Partition, int]:
        """What can be committed now, by partition."""
        offers = {p: o.to_commit() for p, o in self._partitions.items() if among is None or p in among}
        return {p: value for p, value in offers.items() if value is not None}

    def restore(self, offers: dict[Partition, int]) -> None:
        """Take back a failed commit."""
        for partition, value in offers.items():
            if partition in self._partitions:
                self._partitions[partition].restore(value)

    @property
    def gap(self) -> int:
        """The largest gap of any partition."""
        return max((o.gap for o in self._partitions.values()), default=0)

    def idle(self, among: frozenset[Partition]) -> bool:
        """True when nothing of these partitions is in hand."""
        return all(self._partitions[p].idle for p in among if p in self._partitions)
