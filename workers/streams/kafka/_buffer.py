"""A buffer between the Kafka client and `poll`. The client returns one partition after another; `poll` takes turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable

from workers.streams.base import Partition, Record


class FairBuffer:
    """Records by partition. `take` takes turns, so that a partition with many records does not block the others."""

    def __init__(self) -> None:
        self._waiting: dict[Partition, deque[Record]] = {}  # in the order of their turns; no queue is empty

    def add(self, partition: Partition, records: Iterable[Record]) -> None:
        """Append records of one partition, in offset order."""
        queue = self._waiting.setdefault(partition, deque())
        queue.extend(records)
        if not queue:
            del self._waiting[partition]

    def ready(self, paused: Container[Partition]) -> bool:
        """True if `take` would return records."""
        return any(partition not in paused for partition in self._waiting)

    def take(self, count: int, paused: Container[Partition]) -> list[Record]:
        """Remove up to `count` records of partitions that are not paused, in offset order within each."""
        taken: list[Record] = []
        turn = [partition for partition in self._waiting if partition not in paused]
        while turn and len(taken) < count:
            share = max(1, (count - len(taken)) // len(turn))
            for partition in list(turn):
                queue = self._waiting.pop(partition)
                share_now = min(share, count - len(taken), len(queue))
                taken.extend(queue.popleft() for _ in range(share_now))
                if queue:
                    self._waiting[partition] = queue  # moves to the end: its next turn comes after the others
                else:
                    turn.remove(partition)
                if len(taken) == count:
                    break
        return taken

    def drop(self, partitions: Iterable[Partition]) -> None:
        """Drop the waiting records of these partitions."""
        for partition in partitions:
            self._waiting.pop(partition, None)
