"""Writes one log line a minute about a worker that answers requests."""

from __future__ import annotations

import logging
import time

from prometheus_client import Counter

_log = logging.getLogger(__name__)
_EVERY_S = 60.0


class Minutes:
    """Logs once a minute how often each value of a counter's label occurred. A minute without any writes no line."""

    def __init__(self, counter: Counter, label: str, what: str) -> None:
        """`what`: the counted things, in the plural."""
        self._counter, self._label, self._what = counter, label, what
        self._before = self._now()
        self._due = time.monotonic() + _EVERY_S

    def __call__(self) -> None:
        """Log if a minute is over. Call this often."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _EVERY_S
        now = self._now()
        came = {value: round(count - self._before.get(value, 0.0)) for value, count in now.items()}
        text = ", ".join(f"{count} with {value}" for value, count in sorted(came.items()) if count)
        if text:
            _log.info("last minute: %s %s", self._what, text)
        self._before = now

    def _now(self) -> dict[str, float]:
        """The totals by the value of the label."""
        totals: dict[str, float] = {}
        for metric in self._counter.collect():
            for sample in metric.samples:
                if sample.name.endswith("_total"):
                    value = sample.labels[self._label]
                    totals[value] = totals.get(value, 0.0) + sample.value
        return totals
