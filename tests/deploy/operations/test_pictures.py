"""What the pictures show is what Grafana would show: the variables, the legends, and a gap where there is no point."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from deploy.operations.__main__ import DASHBOARDS
from deploy.operations.pictures.answers import _points, answers, legend_of, queried
from deploy.operations.prometheus import Prometheus, Series
from tests.deploy.operations.prometheus import until


def test_variables_and_windows_get_values() -> None:
    expr = 'rate(x{job="$job",name=~"$instance"}[$__rate_interval]) and y{epoch=~"$epoch"}'
    assert queried(expr, 20) == 'rate(x{job="groknet",name=~".*"}[20s]) and y{epoch=~".*"}'


def test_no_query_of_a_dashboard_keeps_a_variable() -> None:
    for file in DASHBOARDS.glob("*.json"):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", ()):
                assert "$" not in queried(target["expr"], 60), file


def test_a_legend_names_its_labels() -> None:
    assert (
        legend_of("p99 {{stage}} of {{ name }}{{gone}}", {"stage": "fetch", "name": "tagger"}) == "p99 fetch of tagger"
    )


def test_a_missing_point_and_one_that_is_not_finite_are_gaps() -> None:
    series = Series({}, [(100.0, 1.0), (110.0, float("nan")), (130.0, 4.0)])
    assert _points(series, 100.0, 130.0, 10.0) == [(100.0, 1.0), (110.0, None), (120.0, None), (130.0, 4.0)]


@pytest.mark.prometheus
@pytest.mark.slow
def test_a_panel_gets_what_a_real_prometheus_answers(tmp_path: Path) -> None:
    with Prometheus(tmp_path, "http://127.0.0.1:9/targets", every_s=1) as prometheus:
        board = {"panels": [{"targets": [{"expr": "vector(7)", "legendFormat": "seven"}]}, {"type": "row"}]}
        now = time.time()
        until(lambda: bool(prometheus.range("vector(7)", now - 2, now, 1)), "an answer", 30)
        found = answers(board, prometheus.url, now - 2, now, 1)
    assert [(one["legend"], [value for _, value in one["points"]]) for one in found[0]] == [("seven", [7.0] * 3)]
    assert found[1] == []
    assert [panel["id"] for panel in board["panels"]] == [0, 1]
