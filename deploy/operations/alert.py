"""What an alert is made of, and how its times are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400

Severity = Literal["page", "ticket"]
"""`page`: somebody must act now. `ticket`: somebody must act within days."""


@dataclass(frozen=True, slots=True)
class Times:
    """Writes times for Prometheus, each divided by `scale`."""

    scale: float = 1.0

    def __call__(self, seconds: float) -> str:
        """The shortest exact text of a time, in milliseconds at the finest: `5m`, `90s`, `1500ms`."""
        ms = round(1000 * seconds / self.scale)
        for unit, size in (("d", 1000 * DAY_S), ("h", 1000 * HOUR_S), ("m", 1000 * MINUTE_S), ("s", 1000)):
            if ms and ms % size == 0:
                return f"{ms // size}{unit}"
        return f"{ms}ms"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `for_s` is how long the expression must be true before the alert fires, in seconds before scaling."""

    name: str
    expr: str
    for_s: float
    severity: Severity
    summary: str
    cause: str
    action: str
