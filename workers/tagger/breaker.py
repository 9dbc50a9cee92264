"""When most events become dead letters the fault is ours: stop, rather than dead-letter a whole topic."""

from __future__ import annotations

import threading
from collections import deque


class Breaker:
    """The share of events, among the last `window`, of which nothing was left but dead letters. Thread-safe."""

    def __init__(self, *, share: float, window: int) -> None:
        self._share = share
        self._recent: deque[bool] = deque(maxlen=window)
        self._lock = threading.Lock()

    def note(self, dead: bool) -> None:
        """An event ended."""
        with self._lock:
            self._recent.append(dead)

    @property
    def tripped(self) -> bool:
        """True once a full window holds more dead letters than its share; one bad seller does not fill a window."""
        with self._lock:
            full = len(self._recent) == self._recent.maxlen
            return full and sum(self._recent) > self._share * len(self._recent)
