"""Cassandra fifty times slower, for seconds here and for a minute in `benchmarks/stream/backpressure.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local import Services

pytestmark = [
    pytest.mark.services,
    pytest.mark.filterwarnings("ignore:(read|open)_text is deprecated:DeprecationWarning"),  # kafka-python 3.0.12
]
BUNDLE = Path(__file__).parents[2] / "training" / "bundles" / "demo"


def test_a_slow_store_costs_neither_memory_nor_membership(tmp_path: Path) -> None:
    from benchmarks.stream.backpressure import Phases, measure  # imports kafka-python, which only this test needs
    from tests.faults.servers import settings

    phases = Phases(warm_s=5, usual_s=5, slow_s=12, after_s=6, events=2500, side=(192, 192))
    with Services(tmp_path / "services", settings()) as services:  # its backlog must not come to other tests' taggers
        seen = measure(services, BUNDLE, tmp_path, phases)
    assert seen["memory_rise_percent"] <= 20, seen
    assert (seen["members_left"], seen["members_came"], seen["usual"]["members"]) == (0, 0, 1), seen
    assert seen["slow"]["events_per_s"] < seen["usual"]["events_per_s"], seen
    assert seen["after"]["events_per_s"] > 2 * seen["slow"]["events_per_s"], seen
    assert seen["events_left"] > 0, "the backlog was worked off before the end"
    assert seen["exit_code"] == 0, seen
