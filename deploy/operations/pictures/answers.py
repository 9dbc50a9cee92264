"""What each panel of a dashboard shows: its queries as Grafana would ask them, and the series that come back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from deploy.operations.prometheus import Series, range_of

_VARIABLES = {"job": "groknet", "instance": ".*", "epoch": ".*", "head": ".*"}
_POINTS = 300  # of a line; a panel is some 500 pixels wide
_WINDOW_SCRAPES = 4  # Grafana's $__rate_interval


def queried(expr: str, window_s: int) -> str:
    """The query with values for Grafana's variables. `window_s`: seconds of a rate."""
    for name, value in _VARIABLES.items():
        expr = expr.replace(f"${name}", value)
    return expr.replace("$__rate_interval", f"{window_s}s")


def legend_of(pattern: str, labels: Mapping[str, str]) -> str:
    """A legend such as `p99 {{stage}}` with the values of the labels."""
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: labels.get(found[1], ""), pattern)


def answers(board: dict[str, Any], url: str, since: float, until: float, every_s: float) -> dict[int, list[Any]]:
    """For each panel's number, its series as {legend, points}. Panels without a number get one. A value that is not
    finite becomes null.

    Args:
        board: the JSON of a dashboard.
        url: of the Prometheus.
        since: the beginning, UTC seconds.
        until: the end, UTC seconds.
        every_s: seconds between two scrapes.
    """
    step = max(every_s, math.ceil((until - since) / _POINTS))
    window = round(max(_WINDOW_SCRAPES * every_s, step + every_s))
    found: dict[int, list[Any]] = {}
    for number, panel in enumerate(board["panels"]):
        panel["id"] = number
        found[number] = [
            {"legend": legend_of(target["legendFormat"], one.labels), "points": _points(one, since, until, step)}
            for target in panel.get("targets", ())
            for one in range_of(url, queried(target["expr"], window), since, until, step)
        ]
    return found


def _points(series: Series, since: float, until: float, step: float) -> list[tuple[float, float | None]]:
    """One point each `step` seconds; a gap where there is none."""
    at = {round(when - since): value for when, value in series.points}
    times = [index * step for index in range(int((until - since) // step) + 1)]
    values = [at.get(round(offset)) for offset in times]
    return [
        (since + offset, value if value is not None and math.isfinite(value) else None)
        for offset, value in zip(times, values, strict=True)
    ]
