"""Items from some threads to others, several at a time: what a batch costs once it should not cost once an item."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Handover(Generic[T]):
    """Many threads put, many take. Unbounded: who puts keeps a bound, as the pipeline's on events in flight."""

    def __init__(self, *, most: int, shares: int = 1, wait_s: float = 0.0) -> None:
        """A taker gets at most `most` items, and of what waits one of `shares` parts: the rest is for other takers.
        Where there are fewer than `most`, it waits `wait_s` for more to come."""
        self._most = most
        self._shares = shares
        self._wait_s = wait_s
        self._waiting: deque[T] = deque()
        self._ended = False
        self._changed = threading.Condition()

    def put(self, items: Iterable[T]) -> None:
        """Add some; blocks for nobody."""
        with self._changed:
            before = len(self._waiting)
            self._waiting.extend(items)
            if len(self._waiting) > before:
                self._changed.notify(min(self._shares, len(self._waiting) - before))

    def take(self) -> list[T]:
        """Block for the first; an empty list once it has ended and all is taken."""
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
        """Let more come, as long as it may take; another taker may have taken all meanwhile."""
        until = time.monotonic() + self._wait_s
        while len(self._waiting) < self._most and not self._ended and (left := until - time.monotonic()) > 0:
            self._changed.wait(left)

    def end(self) -> None:
        """No more will come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._waiting)
