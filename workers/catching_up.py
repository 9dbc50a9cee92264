"""How far a thread is behind that follows a topic: the seconds since it last had everything, and why."""

from __future__ import annotations

import time
from collections.abc import Callable

from workers import typed_metrics as metrics

BEHIND_S = 30.0
"""A thread that has not caught up for so long is behind, and its service says so."""


class CatchingUp:
    """The progress of one thread, which alone calls `reached` and `waits`. Any thread may read it."""

    def __init__(self, of: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`of`: what the thread keeps up to date, the label of its metric. `clock` gives seconds."""
        self._clock = clock
        self._reached = clock()
        self._why = "it has not been read to its end yet"
        metrics.FOLLOWER_BEHIND.labels(of).set_function(lambda: self.behind_s)

    def reached(self) -> None:
        """Everything has been taken now."""
        self._reached = self._clock()
        self._why = "more changes arrive than it can take"

    def waits(self, why: str) -> None:
        """Nothing can be taken, for a reason in words."""
        self._why = why

    @property
    def behind_s(self) -> float:
        """Seconds since everything was taken, or since the start."""
        return self._clock() - self._reached

    @property
    def why_behind(self) -> str:
        """Why it is behind; empty if it is not."""
        return f"not up to date for {self.behind_s:.0f} s: {self._why}" if self.behind_s > BEHIND_S else ""
