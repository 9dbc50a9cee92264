"""Collects photos of several events and partitions into batches. A batch closes by size or by waiting time."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, Literal, TypeVar

from workers.watching import metrics

T = TypeVar("T")
Reason = Literal["size", "wait", "end"]
_CLOSED = {reason: metrics.BATCH_CLOSED.labels(reason) for reason in ("size", "wait", "end")}


class Batcher(Generic[T]):
    """A bounded queue whose reader takes batches. Many threads may put, one thread takes.

    The reader wakes up for the first item and for a full batch, not for each item, because waking a thread costs more
    than an item.
    """

    def __init__(self, *, size: int, wait_s: float, capacity: int) -> None:
        self._size = size
        self._wait_s = wait_s
        self._capacity = max(capacity, size)
        self._waiting: deque[T] = deque()
        self._ended = False
        lock = threading.Lock()
        self._filled, self._emptied = threading.Condition(lock), threading.Condition(lock)

    def put(self, *items: T) -> None:
        """Add items. Blocks while the queue is full."""
        with self._filled:
            for item in items:
                while len(self._waiting) >= self._capacity:
                    self._emptied.wait()
                self._waiting.append(item)
                if len(self._waiting) in (1, self._size):
                    self._filled.notify()

    def end(self) -> None:
        """Say that no more items will come. `take` returns what is left, and then empty batches."""
        with self._filled:
            self._ended = True
            self._filled.notify()

    def take(self) -> tuple[list[T], Reason]:
        """Wait for the first item, then at most `wait_s` until there are `size` items. Time that items spent in the
        queue before this call does not count. Returns the batch and why it closed."""
        with self._filled:
            while not self._waiting and not self._ended:
                self._filled.wait()
            opened = time.monotonic()
            while len(self._waiting) < self._size and not self._ended:
                left = opened + self._wait_s - time.monotonic()
                if left <= 0 or not self._filled.wait(left):
                    break
            batch = [self._waiting.popleft() for _ in range(min(self._size, len(self._waiting)))]
            self._emptied.notify_all()
            reason: Reason = "size" if len(batch) == self._size else "end" if self._ended else "wait"
        if batch:
            metrics.BATCH_SIZE.observe(len(batch))
            metrics.BATCH_WAIT.observe(time.monotonic() - opened)
            _CLOSED[reason].inc()
        return batch, reason

    def __len__(self) -> int:
        return len(self._waiting)
