"""What dashboards are made of: boards, panels, queries, and the usual forms of a query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["s", "short", "ops", "reqps", "percentunit", "bytes", "Bps"]
OF = 'job="$job",name=~"$instance"'
RATE = "[$__rate_interval]"
MODEL_OF = 'on (job, name) groknet_model_info{job="$job",epoch=~"$epoch"}'
INDEX_OF = 'on (job, name) groknet_index_info{job="$job",epoch=~"$epoch"}'


@dataclass(frozen=True, slots=True)
class Query:
    """One line of a panel. `legend` may name labels as `{{label}}`."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `warn` and `bad` are thresholds in `unit`. `alert` is the section of the runbook that it links to."""

    title: str
    what: str
    unit: Unit
    queries: tuple[Query, ...]
    warn: float | None = None
    bad: float | None = None
    alert: str = ""
    number: bool = False
    """One large number instead of lines over time."""


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard: rows of panels by title."""

    uid: str
    title: str
    what: str
    rows: dict[str, tuple[Panel, ...]]
    by_head: bool = False
    """Whether heads can be chosen with the variable `head`."""


def quantiles(metric: str, matchers: str, by: str = "", keep: str = "") -> tuple[Query, ...]:
    """The median and the 99th percentile of a histogram. `keep` filters by the epoch."""
    kept = f" and {keep}" if keep else ""
    labels = f"le, {by}" if by else "le"
    legend = f" {{{{{by}}}}}" if by else ""
    return tuple(
        Query(
            f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket{{{OF}{matchers}}}{RATE}){kept}))",
            f"p{q * 100:g}{legend}",
        )
        for q in (0.5, 0.99)
    )


def rate(metric: str, by: str, matchers: str = "", keep: str = "") -> Query:
    """A counter's rate by one of its labels."""
    kept = f" and {keep}" if keep else ""
    return Query(f"sum by ({by}) (rate({metric}{{{OF}{matchers}}}{RATE}){kept})", f"{{{{{by}}}}}")


def by_label(metric: str, by: str, how: str = "sum") -> Query:
    """A gauge by one of its labels."""
    return Query(f"{how} by ({by}) ({metric}{{{OF}}})", f"{{{{{by}}}}}")
