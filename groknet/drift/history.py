"""Reads the counters of a period from Prometheus' HTTP API, and computes how far each head is from its baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import msgspec

from engines.recognition.drift import psi
from schemas.baseline import NONE
from schemas.errors import Transient

_TIMEOUT_S = 60.0  # for a query over a week of a large system
DAY_S = 86_400.0
ALERTS = "GroknetPredictionsDrift|GroknetNothingApplies|GroknetNoCloseNeighbour"

Labels = Mapping[str, str]
Shares = dict[str, float]


class Prometheus:
    """Asks one Prometheus server. Every method raises Transient if it does not answer as Prometheus does."""

    def __init__(self, url: str) -> None:
        """`url` is its address, such as `http://127.0.0.1:9090`, with a path prefix if it has one."""
        self._base = f"{url.rstrip('/')}/api/v1/"

    def values(self, expr: str, at: float) -> list[tuple[Labels, float]]:
        """The labels and the value of each series of an instant query at a time in UTC seconds."""
        found = self._ask("query", query=expr, time=f"{at:.3f}")
        return [(one["metric"], float(one["value"][1])) for one in found]

    def _ask(self, path: str, **query: str) -> list[dict[str, Any]]:
        try:
            with urlopen(f"{self._base}{path}?{urlencode(query)}", timeout=_TIMEOUT_S) as answer:
                data = msgspec.json.decode(answer.read())
            return list(data["data"]["result"])
        except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
            text = f"{self._base}{path} does not answer as Prometheus does ({error}); check --prometheus"
            raise Transient("prometheus", "unavailable", text) from error


@dataclass(frozen=True, slots=True)
class HeadDrift:
    """One head's labels or scores. `photos` were counted; `live` and `baseline` are shares by bin, 0 to 1; `by_day` has
    the index of each day, None for a day without photos."""

    version: str
    head: str
    of: str
    photos: float
    live: Shares
    baseline: Shares
    by_day: list[float | None]

    @property
    def psi(self) -> float:
        """The population-stability index of the whole period."""
        return psi(self.live, self.baseline)


@dataclass(frozen=True, slots=True)
class Drift:
    """A whole period. Shares are from 0 to 1 and None if nothing was counted. `alerts`: by the alert and its head the
    share of the period in which it fired."""

    end: float
    days: float
    heads: list[HeadDrift]
    photos: float
    domains: Shares
    baseline_domains: Shares
    searches: float
    no_close: float | None
    alerts: dict[str, float]

    @property
    def nothing_applies(self) -> float | None:
        """The share of photos of no domain."""
        return self.domains.get(NONE)


def read_drift(prometheus: Prometheus, job: str, end: float, days: float) -> Drift:
    """The `days` before `end` (UTC seconds) of one job. Raises Transient."""
    heads = _heads(prometheus, job, end, days)
    window, of = f"[{round(days * DAY_S)}s]", f'{{job="{job}"}}'
    ask = prometheus.values
    photos = sum(value for _, value in ask(f"sum(increase(groknet_photos_total{of}{window}))", end))
    applying = ask(f"sum by (domain) (increase(groknet_photos_applying_total{of}{window}))", end)
    expected = ask(f"max by (domain) (last_over_time(groknet_baseline_applying_share{of}{window}))", end)
    searches = {
        labels["close"]: value
        for labels, value in ask(f"sum by (close) (increase(groknet_searches_total{of}{window}))", end)
    }
    asked = sum(searches.values())
    return Drift(
        end=end,
        days=days,
        heads=heads,
        photos=photos,
        domains={labels["domain"]: value / photos for labels, value in applying} if photos > 0 else {},
        baseline_domains={labels["domain"]: value for labels, value in expected},
        searches=asked,
        no_close=searches.get("no", 0.0) / asked if asked > 0 else None,
        alerts=_alerts(prometheus, job, end, days),
    )


def _alerts(prometheus: Prometheus, job: str, end: float, days: float) -> dict[str, float]:
    of = f'{{job="{job}",alertstate="firing",alertname=~"{ALERTS}"}}'
    window = f"[{round(days * DAY_S)}s:{max(1, round(days * 60))}s]"  # 1,440 steps, whatever the period
    steps = days * DAY_S / max(1, round(days * 60))
    found = prometheus.values(f"sum by (alertname, head) (count_over_time(ALERTS{of}{window}))", end)
    named = ((f"{labels['alertname']} {labels.get('head', '')}".strip(), value) for labels, value in found)
    return {name: min(1.0, value / steps) for name, value in named}


Key = tuple[str, str, str]


def _heads(prometheus: Prometheus, job: str, end: float, days: float) -> list[HeadDrift]:
    by, of = "version, head, of, bin", f'{{job="{job}"}}'
    window = round(days * DAY_S)

    def counted(at: float, seconds: int) -> dict[Key, Shares]:
        expr = f"sum by ({by}) (increase(groknet_predictions_total{of}[{seconds}s]))"
        return _grouped(prometheus.values(expr, at))

    expected = _grouped(
        prometheus.values(f"max by ({by}) (last_over_time(groknet_baseline_share{of}[{window}s]))", end)
    )
    whole = counted(end, window)
    step = min(DAY_S, days * DAY_S / 7)  # at least seven points, so that a shorter period has a curve as well
    points = [counted(end - i * step, round(step)) for i in reversed(range(round(days * DAY_S / step)))]
    made = []
    for key, counts in whole.items():
        if key in expected and sum(counts.values()) > 0:
            live = _shares(counts)
            days_of = [_shares(point.get(key, {})) for point in points]
            curve = [psi(one, expected[key]) if one else None for one in days_of]
            made.append(HeadDrift(*key, sum(counts.values()), live, expected[key], curve))
    return sorted(made, key=lambda one: (-one.psi, one.head, one.of))


def _grouped(series: list[tuple[Labels, float]]) -> dict[Key, Shares]:
    found: dict[Key, Shares] = {}
    for labels, value in series:
        found.setdefault((labels["version"], labels["head"], labels["of"]), {})[labels["bin"]] = value
    return found


def _shares(counts: Shares) -> Shares:
    total = sum(counts.values())
    return {name: value / total for name, value in counts.items()} if total > 0 else {}
