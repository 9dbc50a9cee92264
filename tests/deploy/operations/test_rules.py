"""Generated files are current, every alert has its section and its unit tests, rules use declared metrics only."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy.operations.alert import Times
from deploy.operations.rules import rule_file
from tests.deploy.operations.cases import CASES
from tests.deploy.operations.promtool import RULES, alerts, run
from tests.deploy.operations.selectors import declared_series, series_of
from workers.watching.declared import DECLARED

ROOT = Path(__file__).parents[3]
RUNBOOK = ROOT / "docs" / "operations" / "runbook.md"


@pytest.mark.parametrize(("what", "file"), [("rules", RULES), ("runbook", RUNBOOK)])
def test_generated_files_are_current(what: str, file: Path) -> None:
    command = [sys.executable, "-m", "deploy.operations", what]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    remedy = f"write it again: python -m deploy.operations {what} > {file.relative_to(ROOT)}"
    assert file.read_text("utf-8") == said, remedy


def test_every_alert_has_a_section_that_its_annotation_names() -> None:
    anchors = {found.lower() for found in re.findall(r"^## (\w+)$", RUNBOOK.read_text("utf-8"), re.MULTILINE)}
    assert {rule["annotations"]["runbook"] for rule in alerts().values()} == {
        f"docs/operations/runbook.md#{anchor}" for anchor in anchors
    }
    for rule in alerts().values():
        assert {"summary", "cause", "action", "runbook"} == rule["annotations"].keys()
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_the_page_of_faults_says_of_every_alert_whether_a_fault_made_it_fire() -> None:
    page = (RUNBOOK.parent / "faults-and-alerts.md").read_text("utf-8")
    fired = re.findall(r"^\|[^|]+\| (Groknet\w+) \| [\d.]+ \| [\d.]+ \|$", page, re.MULTILINE)
    others = re.findall(r"`(Groknet\w+)`", page)
    assert sorted(fired + others) == sorted(alerts())


def test_every_expression_uses_declared_metrics_and_recorded_names_only() -> None:
    rules = [rule for group in rule_file()["groups"] for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    known = declared_series() | recorded | {"up", "process_open_fds", "process_max_fds"}
    used = {name for rule in rules for name in series_of(rule["expr"])}
    assert used - known == set()
    assert len(used & declared_series()) > 15, "the parser finds them"


def test_every_label_of_a_selector_is_declared_for_its_metric() -> None:
    target = {"job", "worker", "name"}
    for rule in (rule for group in rule_file()["groups"] for rule in group["rules"]):
        for name, matchers in re.findall(r"\b(groknet_\w+?)\{([^}]*)\}", rule["expr"]):
            declared = next(one for one in DECLARED.values() if name in one.series)
            labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)", matchers)) - {"le"}
            assert labels <= target | set(declared.labels), rule["expr"]


def test_the_scale_divides_every_time_and_nothing_else() -> None:
    def spans(text: str) -> list[float]:
        size = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
        return [float(number) * size[unit] for number, unit in re.findall(r"\b(\d+)(ms|[smhd])\b", text)]

    def shape(text: str) -> str:
        return re.sub(r"(?<![_\w])\d+(ms|[smhd])\b", "T", text)

    for whole, scaled in zip(rule_file()["groups"], rule_file(60)["groups"], strict=True):
        for one, other in zip(whole["rules"], scaled["rules"], strict=True):
            assert shape(one["expr"]) == shape(other["expr"])
            first = spans(re.sub(r"\w+:ratio_\w+", "", one["expr"])) + spans(one.get("for", ""))
            second = spans(re.sub(r"\w+:ratio_\w+", "", other["expr"])) + spans(other.get("for", ""))
            assert [pytest.approx(span / 60) for span in first] == second


def test_times_are_written_exactly() -> None:
    assert [Times()(s) for s in (0, 30, 90, 300, 3600, 21600, 259200)] == ["0ms", "30s", "90s", "5m", "1h", "6h", "3d"]
    assert [Times(60)(s) for s in (30, 300, 3600)] == ["500ms", "5s", "1m"]


def test_every_alert_fires_in_one_unit_test_and_stays_quiet_in_one() -> None:
    assert {case.alert for case in CASES if case.fires is not None} == alerts().keys()
    assert {case.alert for case in CASES if case.quiet} == alerts().keys()


@pytest.mark.prometheus
def test_promtool_accepts_the_rules() -> None:
    said = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert yaml.safe_load(RULES.read_text("utf-8")) == rule_file()


@pytest.mark.prometheus
@pytest.mark.parametrize("case", CASES, ids=[f"{case.alert}-{number}" for number, case in enumerate(CASES)])
def test_unit(case, tmp_path: Path) -> None:
    run(case, tmp_path)
