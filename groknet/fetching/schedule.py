"""Decides which host may be asked now: one request of a host at a time, and a pause after each."""

from __future__ import annotations

import heapq

_MOST_PAUSE_S = 600.0
_MOST_POWERS = 8  # of four: 0.1 s become longer than _MOST_PAUSE_S, and no count of failures is too large a power


class Schedule:
    """The hosts and when each may be asked again. Times are seconds of one clock. Not thread-safe."""

    def __init__(self, pause_s: float) -> None:
        """`pause_s`: between two requests of a host, unless the host asks for a longer one."""
        self._pause_s = pause_s
        self._due: list[tuple[float, int, str]] = []
        self._known: set[str] = set()
        self._failures: dict[str, int] = {}
        self._count = 0

    def add(self, host: str) -> None:
        """Add a host that may be asked at once. Adding it again changes nothing."""
        if host not in self._known:
            self._known.add(host)
            self._push(0.0, host)

    def take(self, now: float) -> str | None:
        """The host that waits longest and may be asked; it is busy until `release` or `drop`. None if there is none."""
        if not self._due or self._due[0][0] > now:
            return None
        return heapq.heappop(self._due)[2]

    def release(self, host: str, now: float, *, failed: bool = False, pause_s: float = 0.0) -> None:
        """A request has ended. `pause_s` is what the host asks for. A host that `failed` waits four times as long each
        time in a row, at most ten minutes."""
        failures = self._failures.pop(host, 0) + 1 if failed else 0
        if failures:
            self._failures[host] = failures
        else:
            self._failures.pop(host, None)
        pause = max(self._pause_s, pause_s) * 4.0 ** min(failures, _MOST_POWERS)
        self._push(now + min(pause, max(_MOST_PAUSE_S, pause_s)), host)

    def drop(self, host: str) -> None:
        """Nothing is left to ask of a host."""
        self._known.discard(host)
        self._failures.pop(host, None)

    def next_at(self) -> float | None:
        """When the next host may be asked; None if none waits."""
        return self._due[0][0] if self._due else None

    def _push(self, at: float, host: str) -> None:
        self._count += 1  # hosts that are due at one time take turns
        heapq.heappush(self._due, (at, self._count, host))
