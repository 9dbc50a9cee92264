"""By when everything must be stored and searchable after the last fault, with each part of it said."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tests.faults.ladder import SLOWNESS

BASE_S = 60.0 * SLOWNESS
RETRY_S = 30.0 * SLOWNESS
"""A retry has this long after its due time."""


@dataclass(slots=True)
class Deadline:
    """`base_s` + backlog ÷ rate after the last fault."""

    backlog: int
    """Events that were not committed when the last fault ended."""
    rate: float
    """Events a second, measured in the same town before the faults."""
    base_s: float = BASE_S
    began: float = field(default_factory=time.monotonic)
    began_ms: float = field(default_factory=lambda: time.time() * 1000)
    took_s: float | None = None
    """From the last fault until all was stored and searchable; None: it never was."""

    @property
    def allowed_s(self) -> float:
        """Seconds after the last fault."""
        return self.base_s + self.backlog / self.rate

    @property
    def passed_s(self) -> float:
        """Seconds since the last fault."""
        return time.monotonic() - self.began

    @property
    def over(self) -> bool:
        """True when the time is up."""
        return self.passed_s > self.allowed_s

    def retry_over(self, due_ms: float) -> bool:
        """True when a retry that was due then should be through by now; one that was due during the faults has as long
        as every listing."""
        if due_ms <= self.began_ms:
            return self.over
        return time.time() * 1000 > due_ms + RETRY_S * 1000

    def report(self) -> dict[str, float | None]:
        """The parts, in seconds, events and events a second."""
        return {
            "base_s": self.base_s,
            "backlog": self.backlog,
            "rate": round(self.rate, 2),
            "allowed_s": round(self.allowed_s, 1),
            "retry_s": RETRY_S,
            "took_s": None if self.took_s is None else round(self.took_s, 1),
        }
