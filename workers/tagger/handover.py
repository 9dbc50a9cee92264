"""Items from some threads to others, several at a time: what a batch costs once it should not cost once an item."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Handover(Generic[T]):
    """Many threads put, many take. Unbounded: who puts keeps a bound, as the pipeline's on events in flight."""

    def __init__(self, *, most: int, shares: int = 1) -> None:
        """A taker gets at most `most` items, and of what waits one of `shares` parts: the rest is for other takers."""
        self._most = most
        self._shares = shares
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
            while not self._waiting:
                if self._ended:
                    return []
                self._changed.wait()
            count = min(self._most, -(-len(self._waiting) // self._shares))
            return [self._waiting.popleft() for _ in range(count)]

    def end(self) -> None:
        """No more will come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._waiting)
