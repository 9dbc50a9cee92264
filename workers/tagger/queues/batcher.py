"""Photos to batches: a batch closes by size or by wait, across events and partitions, and says why."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, Literal, TypeVar

from workers import metrics

T = TypeVar("T")
Reason = Literal["size", "wait", "end"]
_CLOSED = {reason: metrics.BATCH_CLOSED.labels(reason) for reason in ("size", "wait", "end")}


class Batcher(Generic[T]):
    """A bounded queue whose reader gets batches. Many threads put, one thread takes.

    The reader is woken for the first item and for a full batch, not for each: waking costs more than an item does.
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
        """Add some; blocks while there are as many as the capacity."""
        with self._filled:
            for item in items:
                while len(self._waiting) >= self._capacity:
                    self._emptied.wait()
                self._waiting.append(item)
                if len(self._waiting) in (1, self._size):
                    self._filled.notify()

    def end(self) -> None:
        """No more will come: what is there is still handed out, then `take` returns an empty batch."""
        with self._filled:
            self._ended = True
            self._filled.notify()

    def take(self) -> tuple[list[T], Reason]:
        """Block for the first item, then until `size` items are there or the first has waited `wait_s`."""
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
