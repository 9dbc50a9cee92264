"""Photos to batches: a batch closes by size or by wait, across events and partitions, and says why."""

from __future__ import annotations

import queue
import time
from typing import Generic, Literal, TypeVar

from workers import metrics

T = TypeVar("T")
Reason = Literal["size", "wait", "end"]


class Batcher(Generic[T]):
    """A bounded queue whose reader gets batches. Many threads put, one thread takes."""

    def __init__(self, *, size: int, wait_s: float, capacity: int) -> None:
        self._size = size
        self._wait_s = wait_s
        self._queue: queue.Queue[T | None] = queue.Queue(maxsize=capacity)
        self._ended = False

    def put(self, item: T) -> None:
        """Add one; blocks while the queue is full."""
        self._queue.put(item)

    def end(self) -> None:
        """No more will come: what is there is still handed out, then `take` returns an empty batch."""
        self._queue.put(None)

    def take(self) -> tuple[list[T], Reason]:
        """Block for the first item, then until `size` items are there or the first has waited `wait_s`."""
        first = None if self._ended else self._queue.get()
        if first is None:
            self._ended = True
            return [], "end"
        batch, reason, opened = [first], self._fill_reason(1), time.monotonic()
        while reason is None:
            left = opened + self._wait_s - time.monotonic()
            try:
                item = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
            except queue.Empty:
                reason = "wait"
                continue
            if item is None:
                self._ended, reason = True, "end"
                continue
            batch.append(item)
            reason = self._fill_reason(len(batch))
        metrics.BATCH_SIZE.observe(len(batch))
        metrics.BATCH_WAIT.observe(time.monotonic() - opened)
        metrics.BATCH_CLOSED.labels(reason).inc()
        metrics.QUEUE_DEPTH.labels("batch").set(self._queue.qsize())
        return batch, reason

    def _fill_reason(self, count: int) -> Reason | None:
        return "size" if count >= self._size else None
