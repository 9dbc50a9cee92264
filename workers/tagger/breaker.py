"""Stops the tagger when most events become dead letters: the fault is then likely ours, not the events'."""

from __future__ import annotations

import threading
from collections import deque


class Breaker:
    """Counts how many of the last `window` events became nothing but dead letters. Thread-safe."""

    def __init__(self, *, share: float, window: int) -> None:
        self._share = share
        self._recent: deque[bool] = deque(maxlen=window)
        self._lock = threading.Lock()

    def note(self, dead: bool) -> None:
        """Count an event that ended; `dead` if only dead letters are left of it."""
        with self._lock:
            self._recent.append(dead)

    @property
    def tripped(self) -> bool:
        """True if the window is full and more than `share` of its events are dead. One bad seller does not fill it."""
        with self._lock:
            full = len(self._recent) == self._recent.maxlen
            return full and sum(self._recent) > self._share * len(self._recent)
