"""How far a thread is behind that follows a topic: the seconds since it last had everything, and why."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from workers.watching import typed_metrics as metrics

BEHIND_S = 30.0
"""A thread that has not caught up for so long is behind, and its service says so."""

_guard = threading.Lock()
_running: dict[str, list[CatchingUp]] = {}
"""By what they keep up to date, the progress of threads that run, the oldest first. While a service changes over to
another application, both have one, and the older one answers."""


class CatchingUp:
    """The progress of one thread, which alone calls `reached` and `waits`. Any thread may read it."""

    def __init__(self, of: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`of`: what the thread keeps up to date, the label of its metric. `clock` gives seconds."""
        self._of, self._clock = of, clock
        self._reached = clock()
        self._why = "it has not been read to its end yet"

    def begin(self) -> None:
        """The thread starts. From now on the metric shows it, unless an older one of its kind still runs."""
        self._reached = self._clock()
        with _guard:
            _running.setdefault(self._of, []).append(self)
        metrics.FOLLOWER_BEHIND.labels(self._of).set_function(lambda: _shown(self._of))

    def end(self) -> None:
        """The thread has ended, and the metric does not show it any more. Idempotent."""
        with _guard:
            if self in _running.get(self._of, []):
                _running[self._of].remove(self)

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


def _shown(of: str) -> float:
    with _guard:
        running = _running.get(of)
        return running[0].behind_s if running else 0.0
