"""How a metric is declared: name, type, unit, labels, who shows it, what it means, and what to do when it is high.

`counter`, `gauge` and `histogram` make the metric and note its declaration in `DECLARED`. `registry_of` gives one
worker its own metrics, so that a tagger does not show the empty metrics of an indexer. `reference_page` writes the page
of all declarations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

WorkerKind = Literal["tagger", "indexer", "search", "products", "supervisor"]
Kind = Literal["counter", "gauge", "histogram"]
EVERY_WORKER: tuple[WorkerKind, ...] = ("tagger", "indexer", "search", "products")
_SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}

M = TypeVar("M", Counter, Gauge, Histogram)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nothing here reads


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is known of one metric. `high` says what to do when the value is high, or when it is the bad one of two."""

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    workers: tuple[WorkerKind, ...]
    meaning: str
    high: str
    metric: Counter | Gauge | Histogram

    @property
    def series(self) -> tuple[str, ...]:
        """The names of its series in a query: `name`, or `name_bucket`, `name_sum` and `name_count`."""
        return tuple(self.name + suffix for suffix in _SUFFIXES[self.kind])


DECLARED: dict[str, Declaration] = {}
"""Every declaration by name, in the order of the module `workers.metrics`."""


def counter(
    name: str, meaning: str, *, unit: str, high: str, by: Sequence[WorkerKind], labels: Sequence[str] = ()
) -> Counter:
    """Declare a counter. `name` ends with `_total`. Raises ValueError for a name that breaks this, or is taken."""
    if not name.endswith("_total"):
        raise ValueError(f"{name}: the name of a counter ends with _total")
    made = Counter(name, meaning, labels, registry=None)
    return _note(made, Declaration(name, "counter", unit, tuple(labels), tuple(by), meaning, high, made))


def gauge(
    name: str, meaning: str, *, unit: str, high: str, by: Sequence[WorkerKind], labels: Sequence[str] = ()
) -> Gauge:
    """Declare a gauge. Raises ValueError for a name that is taken."""
    made = Gauge(name, meaning, labels, registry=None)
    return _note(made, Declaration(name, "gauge", unit, tuple(labels), tuple(by), meaning, high, made))


def histogram(
    name: str,
    meaning: str,
    *,
    unit: str,
    high: str,
    by: Sequence[WorkerKind],
    buckets: Sequence[float],
    labels: Sequence[str] = (),
) -> Histogram:
    """Declare a histogram. `buckets` are upper bounds in `unit`. Raises ValueError for a name that is taken."""
    made = Histogram(name, meaning, labels, buckets=buckets, registry=None)
    return _note(made, Declaration(name, "histogram", unit, tuple(labels), tuple(by), meaning, high, made))


def _note(metric: M, declaration: Declaration) -> M:
    if declaration.name in DECLARED:
        raise ValueError(f"{declaration.name}: this metric is declared already; a metric is declared once")
    DECLARED[declaration.name] = declaration
    return metric


@cache
def registry_of(worker: WorkerKind) -> CollectorRegistry:
    """The metrics that a worker shows: those that are declared for it, and those of its process."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    for declaration in DECLARED.values():
        if worker in declaration.workers:
            registry.register(declaration.metric)
    return registry


def reference_page() -> str:
    """The page docs/reference/metrics.md."""
    lines = [
        "# Metrics",
        "",
        "<!-- Generated from workers/metrics.py by `python -m workers.metrics`; a test checks that it is current. -->",
        "",
        "Every worker serves these metrics at `/metrics`, each only its own. The column *high* says what to do when",
        "the value is high, or when it is the bad one of two values. Workers also show the usual metrics of a Python",
        "process, such as `process_resident_memory_bytes` and `process_open_fds`.",
        "",
        "Labels have few values. No label holds a listing, an address or a host.",
    ]
    for worker, title in (
        ("tagger", "Tagger"),
        ("indexer", "Indexer"),
        ("search", "Search"),
        ("products", "Products"),
        ("supervisor", "Supervisor (`groknet run all`)"),
    ):
        lines += ["", f"## {title}", "", "| metric | type | unit | meaning | high |", "|---|---|---|---|---|"]
        for one in DECLARED.values():
            if worker in one.workers:
                labels = "{" + ",".join(one.labels) + "}" if one.labels else ""
                lines.append(f"| `{one.name}{labels}` | {one.kind} | {one.unit} | {one.meaning} | {one.high} |")
    return "\n".join(lines) + "\n"
