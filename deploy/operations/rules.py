"""The template of all recording rules and alerts.

Two objectives: 99 % of uploads are searchable within 5 s, and 99 % of searches are answered well within 1 s. Their
alerts compare how fast the error budget burns in a long and in a short window (Google, The Site Reliability Workbook,
chapter 5): the long window shows that it matters, the short one that it is still going on. All other alerts name a
cause.
"""

from __future__ import annotations

from typing import Any

from deploy.operations.alert import DAY_S, HOUR_S, MINUTE_S, Alert, Times
from deploy.operations.causes import causes
from deploy.operations.drift import drift_alerts, drift_records

JOB = "groknet"
BUDGET = 0.01  # of events and of searches may miss the objective
WINDOWS_S = {
    "5m": 5 * MINUTE_S,
    "30m": 30 * MINUTE_S,
    "1h": HOUR_S,
    "6h": 6 * HOUR_S,
    "3d": 3 * DAY_S,
}
"""The windows of the error ratios. A record is named after the unscaled window."""
RUNBOOK = "docs/operations/runbook.md"

_FRESH = (
    'sum by (job) (rate(groknet_event_age_seconds_bucket{{stage="indexed",le="5.0"}}[{w}]))'
    ' / sum by (job) (rate(groknet_event_age_seconds_count{{stage="indexed"}}[{w}]))'
)
_ANSWERED = (
    'sum by (job) (rate(groknet_search_seconds_bucket{{step="total",le="1.0"}}[{w}]))'
    ' / sum by (job) (rate(groknet_search_requests_total{{route="/v1/search",status!~"4.."}}[{w}]))'
)
OBJECTIVES = {"freshness": _FRESH, "search": _ANSWERED}
"""The share that meets each objective, over a window."""

# burn rate, long window, short window, for, severity: at 14.4 a 30-day budget is gone in two days, at 6 in five days
_BURNS: tuple[tuple[str, float, str, str, float, Any], ...] = (
    ("Fast", 14.4, "1h", "5m", 2 * MINUTE_S, "page"),
    ("Steady", 6.0, "6h", "30m", 15 * MINUTE_S, "page"),
    ("Slow", 1.0, "3d", "6h", HOUR_S, "ticket"),
)
_MEANING = {
    "freshness": (
        "Uploads take longer than 5 s until a search finds them",
        "Too few taggers for the load, a slow photo host, store or stream, or a worker that was away.",
        "Look at the lag. If it grows, see GroknetLagKeepsIncreasing. If not, the stage times of the taggers and the "
        "age by stage (`stored`, `indexed`) say what is slow.",
    ),
    "search": (
        "Searches fail, or take longer than 1 s",
        "Too many requests at once, a service that is away, or an engine that shares its cores.",
        "Look at the answers by status. With 503, ask `/readyz` of the search service for `degraded`. With 200, the "
        "steps `decode`, `recognise` and `find` say what is slow.",
    ),
}


def record_name(objective: str, window: str) -> str:
    """The name of the recorded error ratio of an objective over a window."""
    return f"job:groknet_{objective}_errors:ratio_{window}"


def records(times: Times) -> list[dict[str, str]]:
    """The recording rules: error ratios for the objectives, and sums that the alerts and the dashboards share."""
    found = [
        {"record": record_name(objective, window), "expr": "1 - " + share.format(w=times(seconds))}
        for objective, share in OBJECTIVES.items()
        for window, seconds in WINDOWS_S.items()
    ]
    return [
        *found,
        {"record": "job:groknet_lag_records:sum", "expr": "sum by (job, topic) (groknet_lag_records)"},
        {"record": "job:groknet_lag_seconds:max", "expr": "max by (job, topic) (groknet_lag_seconds)"},
        {
            "record": "job:groknet_events:rate",
            "expr": f'sum by (job) (rate(groknet_events_total{{stage="tagger"}}[{times(3 * MINUTE_S)}]))',
        },
        *drift_records(times),
    ]


def burn_alerts() -> list[Alert]:
    """The alerts of the objectives."""
    found = []
    for objective in OBJECTIVES:
        summary, cause, action = _MEANING[objective]
        for speed, burn, long, short, for_s, severity in _BURNS:
            limit = f"{burn:g} * {BUDGET}"
            expr = f"{record_name(objective, long)} > {limit} and {record_name(objective, short)} > {limit}"
            name = f"Groknet{objective.title()}Burn{speed}"
            text = f"{summary}: the error budget burns {burn:g} times too fast"
            found.append(Alert(name, expr, for_s, severity, text, cause, action))
    return found


def alerts(times: Times) -> list[Alert]:
    """Every alert. `times` scales the windows in the expressions."""
    return [*burn_alerts(), *causes(times), *drift_alerts(times)]


def rule_file(scale: float = 1.0) -> dict[str, Any]:
    """The rule file of Prometheus as plain values. `scale` divides every window and every `for`."""
    times = Times(scale)
    interval = times(30)
    return {
        "groups": [
            {"name": "groknet-records", "interval": interval, "rules": records(times)},
            {"name": "groknet-alerts", "interval": interval, "rules": [_rule(one, times) for one in alerts(times)]},
        ]
    }


def _rule(alert: Alert, times: Times) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": times(alert.for_s),
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": alert.summary,
            "cause": alert.cause,
            "action": alert.action,
            "runbook": f"{RUNBOOK}#{alert.name.lower()}",
        },
    }
