"""Dashboards: the JSON is current, every query uses declared metrics and labels, every link has its section."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from deploy.operations.__main__ import DASHBOARDS
from deploy.operations.dashboards import dashboard_text
from deploy.operations.panel_parts import Board
from deploy.operations.panels import BOARDS, EPOCH_CHANGES
from deploy.operations.rules import rule_file
from tests.deploy.operations.promtool import alerts
from tests.deploy.operations.selectors import declared_series, selectors_of, series_of
from workers.watching.declared import DECLARED

PROCESS = {"process_resident_memory_bytes", "process_open_fds"}
each_board = pytest.mark.parametrize("board", BOARDS, ids=[board.uid for board in BOARDS])


def queries(board: Board) -> list[str]:
    panels = [panel for row in board.rows.values() for panel in row]
    return [EPOCH_CHANGES, *(query.expr for panel in panels for query in panel.queries)]


def recorded() -> set[str]:
    return {rule["record"] for group in rule_file()["groups"] for rule in group["rules"] if "record" in rule}


@each_board
def test_the_json_is_current(board: Board) -> None:
    file = DASHBOARDS / f"{board.uid}.json"
    assert file.read_text("utf-8") == dashboard_text(board), "write it again: python -m deploy.operations dashboards"


def test_there_is_no_other_file() -> None:
    assert {file.stem for file in DASHBOARDS.iterdir()} == {board.uid for board in BOARDS}


@each_board
def test_every_query_uses_declared_metrics_with_declared_labels(board: Board) -> None:
    known = declared_series() | PROCESS | recorded()
    for query in queries(board):
        assert series_of(query), query
        assert series_of(query) <= known, query
        for name, matchers in selectors_of(query):
            declared = next((one for one in DECLARED.values() if name in one.series), None)
            labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)", matchers))
            of_record = {"version", "head", "of", "bin"} if name in recorded() else set()
            assert labels <= {"job", "name", "worker"} | of_record | set(declared.labels if declared else ()), query


@each_board
def test_every_panel_has_a_unit_a_description_and_a_real_link(board: Board) -> None:
    made = json.loads(dashboard_text(board))
    panels = [panel for panel in made["panels"] if panel["type"] != "row"]
    assert panels
    for panel in panels:
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["description"], panel["title"]
        assert panel["targets"][0]["expr"]
        for link in panel.get("links", []):
            anchor = link["url"].partition("#")[2]
            assert anchor in {name.lower() for name in alerts()}, link["url"]


@each_board
def test_instance_and_epoch_can_be_chosen_and_epoch_changes_are_marked(board: Board) -> None:
    made = json.loads(dashboard_text(board))
    assert {"source", "job", "instance", "epoch"} <= {one["name"] for one in made["templating"]["list"]}
    assert [one["expr"] for one in made["annotations"]["list"] if "expr" in one] == [EPOCH_CHANGES]


def test_every_metric_of_a_worker_is_on_a_dashboard_or_in_an_alert_or_is_named_here() -> None:
    """What is left out on purpose: each has a reason."""
    elsewhere = {
        "groknet_heartbeat_age_seconds",  # /healthz and the supervisor judge it
        "groknet_batch_age_seconds",
        "groknet_build_info",  # the source of the variables
        "groknet_batch_wait_seconds",  # reference only: the size says the same
        "groknet_last_event_timestamp_seconds",  # reference only: the lag says the same
        "groknet_index_applied_timestamp_seconds",
        "groknet_removal_seconds",
        "groknet_fetches",  # reference only: the time of the stage `fetch` says the same
        "groknet_slow_hosts",
        "groknet_detect_seconds",  # reference only: few homes have a detector
        "groknet_boxes",
        "groknet_searches_not_kept_total",  # reference only: few operators keep searches
        "groknet_detect_errors_total",
        "groknet_decode_memory_bytes",  # a bound, which the worker keeps by itself
    }
    used = {name for board in BOARDS for query in queries(board) for name in series_of(query)}
    rules = [rule for group in rule_file()["groups"] for rule in group["rules"]]
    used |= {name for rule in rules for name in series_of(rule["expr"])}
    missing = {one.name for one in DECLARED.values() if not set(one.series) & used}
    assert missing == elsewhere


def test_provisioning_files_are_yaml_that_grafana_knows() -> None:
    folder = DASHBOARDS.parent / "provisioning"
    (dashboards,) = yaml.safe_load((folder / "dashboards" / "groknet.yaml").read_text())["providers"]
    assert (dashboards["type"], dashboards["allowUiUpdates"]) == ("file", False)
    (source,) = yaml.safe_load((folder / "datasources" / "groknet.yaml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    assert Path(dashboards["options"]["path"]).is_absolute()
