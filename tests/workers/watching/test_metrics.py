"""Declared metrics: the reference page is current, nothing is declared twice, and a worker shows its own metrics."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from workers.watching import metrics
from workers.watching.declared import DECLARED, counter, registry_of

ROOT = Path(__file__).parents[3]
MAKES_A_METRIC = re.compile(r"\b(Counter|Gauge|Histogram|Summary)\(\s*[\"']groknet")
UNITS = {"seconds": "_seconds", "bytes": "_bytes"}


def shown(worker) -> dict[str, str]:
    """The families that a worker exposes, by name as Prometheus reads it, with their types."""
    families = text_string_to_metric_families(generate_latest(registry_of(worker)).decode())
    return {one.name + ("_total" if one.type == "counter" else ""): one.type for one in families}


def test_the_reference_page_is_current() -> None:
    command = [sys.executable, "-m", "workers.watching.metrics"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    page = ROOT / "docs" / "reference" / "metrics.md"
    assert page.read_text("utf-8") == said, (
        f"write it again: python -m workers.watching.metrics > {page.relative_to(ROOT)}"
    )


def test_every_metric_of_the_module_is_declared_and_has_all_that_a_reader_needs() -> None:
    made = [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]
    assert {id(one) for one in made} == {id(one.metric) for one in DECLARED.values()}
    for one in DECLARED.values():
        assert re.fullmatch(r"groknet_[a-z_]+", one.name)
        assert one.meaning
        assert one.high
        assert one.unit
        assert not {"job", "instance", "worker", "name"} & set(one.labels), "the target list sets these labels"
        assert "|" not in one.meaning + one.high, "the page is a table"
        for unit, suffix in UNITS.items():
            assert (unit == one.unit) == (suffix in one.name), f"{one.name}: its name and its unit disagree"


def test_no_other_module_makes_a_metric() -> None:
    found = [
        path.relative_to(ROOT).as_posix()
        for room in ("workers", "groknet", "engines")
        for path in (ROOT / room).rglob("*.py")
        if path.name != "declared.py" and MAKES_A_METRIC.search(path.read_text("utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize("worker", ["tagger", "indexer", "search", "products", "supervisor"])
def test_a_worker_shows_its_own_metrics_with_their_types(worker) -> None:
    expected = {one.name: one.kind for one in DECLARED.values() if worker in one.workers}
    ours = {name: kind for name, kind in shown(worker).items() if name.startswith("groknet_")}
    assert ours == expected
    assert shown(worker)["process_resident_memory_bytes"] == "gauge"
    assert not [name for name in shown(worker) if name.endswith("_created")]


def test_a_name_is_declared_once_and_a_counter_ends_with_total() -> None:
    with pytest.raises(ValueError, match="declared once"):
        counter("groknet_events_total", "again", unit="events", high="", by=("tagger",))
    with pytest.raises(ValueError, match="ends with _total"):
        counter("groknet_things", "things", unit="things", high="", by=("tagger",))
