"""Runs promtool's unit tests of rules: series go in, and after some minutes an alert fires or does not."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from deploy.operations.rules import rule_file

RULES = Path(__file__).parents[3] / "deploy" / "operations" / "rules.yaml"
NEVER: list[dict[str, str]] = []


@dataclass(frozen=True)
class Case:
    """`series`: values a minute, in promtool's notation. `fires`: after so many minutes, with these labels. `quiet`: at
    these minutes the alert does not fire."""

    alert: str
    series: dict[str, str]
    fires: int | None = None
    labels: dict[str, str] = field(default_factory=dict)
    quiet: tuple[int, ...] = (0,)


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts of the committed template, by name."""
    return {rule["alert"]: rule for group in rule_file()["groups"] for rule in group["rules"] if "alert" in rule}


def needed_by(alert: str) -> dict[str, Any]:
    """A rule file with one alert and the records that it reads, which promtool evaluates ten times as fast."""
    every = [rule for group in rule_file()["groups"] for rule in group["rules"]]
    kept: list[dict[str, Any]] = [alerts()[alert]]
    for rule in reversed(every):  # a record is read only by rules after it
        if "record" in rule and any(rule["record"] in one["expr"] for one in kept):
            kept.insert(0, rule)
    return {"groups": [{"name": "needed", "interval": rule_file()["groups"][0]["interval"], "rules": kept}]}


def run(case: Case, folder: Path) -> None:
    """Let promtool judge one case."""
    rule = alerts()[case.alert]
    text = {key: _filled(value, case.labels) for key, value in rule["annotations"].items()}
    expected = {"exp_labels": {**case.labels, **rule["labels"]}, "exp_annotations": text}
    checks = [{"eval_time": f"{minute}m", "alertname": case.alert, "exp_alerts": NEVER} for minute in case.quiet]
    if case.fires is not None:
        checks.append({"eval_time": f"{case.fires}m", "alertname": case.alert, "exp_alerts": [expected]})
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    file = folder / "case.yaml"
    test = {"interval": "1m", "input_series": series, "alert_rule_test": checks}
    rules = folder / "rules.yaml"
    rules.write_text(yaml.safe_dump(needed_by(case.alert)))
    file.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "30s", "tests": [test]}))
    said = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr


def _filled(text: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels.get(found[1], ""), text)
