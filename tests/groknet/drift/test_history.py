"""The report's figures from a real Prometheus whose week was written by promtool, against sums worked out here."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from groknet.drift.history import Prometheus, read_drift
from groknet.drift.page import drift_page
from schemas.baseline import NONE
from schemas.errors import Transient
from tests.deploy.operations.prometheus import Prometheus as RealPrometheus
from tests.groknet.conftest import Call

DAY_S = 86_400
BASELINE = {"red": 0.5, "(other)": 0.3, "(none)": 0.2}
BEFORE = {"red": 5, "(other)": 3, "(none)": 2}  # photos an hour, as in the baseline
AFTER = {"red": 2, "(other)": 3, "(none)": 5}  # in the last three days
SECOND = {"red": 1, "(other)": 1, "(none)": 2}  # a second tagger, always so
HEAD = 'job="groknet",version="m-1",head="colour",of="label"'


def by_hand(counts: dict[str, float]) -> float:
    total = sum(counts.values())
    return sum((n / total - BASELINE[k]) * math.log(n / total / BASELINE[k]) for k, n in counts.items())


def openmetrics(end: int) -> str:
    """A sample an hour for a week and a bit: counters, the baseline, and an alert in the last day."""
    hours = range(end - 8 * DAY_S, end + 1, 3600)
    lines = ["# TYPE groknet_predictions counter"]
    for name, rate in (("tagger", BEFORE), ("tagger-2", SECOND)):
        for bin_ in BASELINE:
            value = 0.0
            for at in hours:
                value += AFTER[bin_] if name == "tagger" and at > end - 3 * DAY_S else rate[bin_]
                lines.append(f'groknet_predictions_total{{{HEAD},bin="{bin_}",name="{name}"}} {value} {at}')
    lines.append("# TYPE groknet_baseline_share gauge")
    for bin_, share in BASELINE.items():
        lines += [f'groknet_baseline_share{{{HEAD},bin="{bin_}",name="tagger"}} {share} {at}' for at in hours]
    of = 'job="groknet",version="m-1"'
    lines.append("# TYPE groknet_photos counter")
    lines += [f"groknet_photos_total{{{of}}} {20 * i} {at}" for i, at in enumerate(hours)]
    lines.append("# TYPE groknet_photos_applying counter")
    for domain, rate in (("shop", 15), (NONE, 5)):
        series = f'groknet_photos_applying_total{{{of},domain="{domain}"}}'
        lines += [f"{series} {rate * i} {at}" for i, at in enumerate(hours)]
    lines.append("# TYPE groknet_baseline_applying_share gauge")
    lines += [f'groknet_baseline_applying_share{{{of},domain="(none)"}} 0.1 {at}' for at in hours]
    lines.append("# TYPE groknet_searches counter")
    for close, rate in (("yes", 6), ("no", 2)):
        series = f'groknet_searches_total{{job="groknet",close="{close}"}}'
        lines += [f"{series} {rate * i} {at}" for i, at in enumerate(hours)]
    lines.append("# TYPE ALERTS gauge")
    fired = 'ALERTS{job="groknet",alertname="GroknetPredictionsDrift",alertstate="firing",head="colour"}'
    lines += [f"{fired} 1 {at}" for at in range(end - DAY_S, end + 1, 60)]
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    if shutil.which("promtool") is None:
        pytest.skip("not run: prometheus is not installed; `make operations` installs it")
    folder, end = tmp_path_factory.mktemp("week"), int(time.time()) // 3600 * 3600
    (folder / "week.txt").write_text(openmetrics(end))
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "week.txt", "tsdb"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    with RealPrometheus(folder, [], 60) as real:
        yield real.url, end


@pytest.mark.prometheus
def test_a_week_is_read_as_it_was_counted(week: tuple[str, int]) -> None:
    url, end = week
    found = read_drift(Prometheus(url), "groknet", end, 7)
    (head,) = found.heads
    assert (head.version, head.head, head.of) == ("m-1", "colour", "label")
    assert head.baseline == BASELINE
    counted = {k: 24 * (4 * BEFORE[k] + 3 * AFTER[k] + 7 * SECOND[k]) for k in BASELINE}
    assert head.photos == pytest.approx(sum(counted.values()), rel=0.01)
    assert head.live == pytest.approx({k: n / sum(counted.values()) for k, n in counted.items()}, abs=0.005)
    assert head.psi == pytest.approx(by_hand(counted), rel=0.03)
    calm, wild = (by_hand({k: one[k] + SECOND[k] for k in BASELINE}) for one in (BEFORE, AFTER))
    assert head.by_day == pytest.approx([calm] * 4 + [wild] * 3, rel=0.1)
    assert calm < 0.1
    assert wild > 0.2
    assert found.nothing_applies == pytest.approx(0.25, abs=0.001)
    assert found.baseline_domains == {NONE: 0.1}
    assert found.no_close == pytest.approx(0.25, abs=0.001)
    assert found.searches == pytest.approx(7 * 24 * 8, rel=0.01)
    assert found.alerts == {"GroknetPredictionsDrift colour": pytest.approx(1 / 7, rel=0.05)}
    assert read_drift(Prometheus(url), "another", end, 7).heads == []


@pytest.mark.prometheus
def test_the_command_writes_the_page(week: tuple[str, int], groknet: Call, tmp_path: Path) -> None:
    url, _ = week
    file = tmp_path / "drift.html"
    said = groknet("drift", "report", "--prometheus", url, "--out", file, "--json")
    assert said.code == 0, said.err
    told = json.loads(said.out)
    assert told["heads"]["colour"]["label"] == pytest.approx(0.178, abs=0.03)  # by hand, over the whole week
    page = file.read_text()
    assert "colour" in page
    assert "(other)" in page
    assert "GroknetPredictionsDrift colour" in page
    missing = groknet("drift", "report", "--prometheus", url, "--out", file, "--job", "another")
    assert "groknet bundle baseline" in missing.err
    assert missing.code != 0


@pytest.mark.prometheus
def test_the_page_of_the_week(week: tuple[str, int]) -> None:
    url, end = week
    page = drift_page(read_drift(Prometheus(url), "groknet", end, 3))
    assert "Drifted: colour" in page


def test_who_is_no_prometheus_is_named(tmp_path: Path) -> None:
    with pytest.raises(Transient, match="--prometheus"):
        read_drift(Prometheus("http://127.0.0.1:9"), "groknet", 0, 7)
