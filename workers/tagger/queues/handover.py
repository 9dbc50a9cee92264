"""Hands several items at a time from some threads to others, so that the cost of a call is shared by many items."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Handover(Generic[T]):
    """A queue without a bound, for many writers and many readers. The pipeline bounds the events in flight."""

    def __init__(self, *, most: int, shares: int = 1, wait_s: float = 0.0) -> None:
        """`take` returns at most `most` items, and at most 1/`shares` of the queue, so that the rest is left to other
        threads. If fewer than `most` items are there, it waits up to `wait_s` seconds for more."""
        self._most = most
        self._shares = shares
        self._wait_s = wait_s
        self._waiting: deque[T] = deque()
        self._ended = False
        self._changed = threading.Condition()

    def put(self, items: Iterable[T]) -> None:
        """Add items. Never blocks."""
        with self._changed:
            before = len(self._waiting)
            self._waiting.extend(items)
            if len(self._waiting) > before:
                self._changed.notify(min(self._shares, len(self._waiting) - before))

    def take(self) -> list[T]:
        """Wait for the first item and return some items; an empty list after the end, when nothing is left."""
        with self._changed:
            while True:
                while not self._waiting:
                    if self._ended:
                        return []
                    self._changed.wait()
                self._gather()
                if self._waiting:
                    break
            count = min(self._most, -(-len(self._waiting) // self._shares))
            return [self._waiting.popleft() for _ in range(count)]

    def _gather(self) -> None:
        """Wait up to `wait_s` for more items. Another thread may take all of them in the meantime."""
        until = time.monotonic() + self._wait_s
        while len(self._waiting) < self._most and not self._ended and (left := until - time.monotonic()) > 0:
            self._changed.wait(left)

    def end(self) -> None:
        """Say that no more items will come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._waiting)
