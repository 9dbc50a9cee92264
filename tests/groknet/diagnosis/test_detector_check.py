"""`groknet doctor` on the detector: none, one for searches, one of the bundle, and what is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groknet.diagnosis.check import Check
from groknet.diagnosis.detector_check import detector_check
from groknet.home.config import load_config
from groknet.home.paths import Home
from tests.detectors import bright_detector
from tests.engines.tiny_bundle import write_tiny_bundle

pytestmark = pytest.mark.slow  # torch writes the detector's graph


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    root = tmp_path_factory.mktemp("home")
    write_tiny_bundle(root / "plain")
    bright_detector(root / "finder")
    return Home(root)


def checked(home: Home, more: str = "", **detect: object) -> Check:
    """The check with these settings of `[detect]`."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in detect.items()]
    home.config_file.write_text("\n".join(['[engine]\nbundle = "plain"', "[detect]", *lines, more]))
    return detector_check(load_config(home, {}))


def test_doctor_says_which_detector_runs_and_for_what(home: Home) -> None:
    none = checked(home)
    assert (none.check, none.state, none.detail) == ("detector", "ok", "none; listings are described whole")
    searched = checked(home, bundle="finder")
    assert searched.state == "ok"
    assert searched.detail.endswith(
        "by onnxruntime; its boxes for the parity photos match; "
        "listings are described whole, and searches may ask for it"
    )
    every = checked(home, bundle="finder", mode="all", most_boxes=5, padding=0.1)
    assert every.state == "ok"
    assert every.detail.endswith("; mode all, threshold 0.4, padding 0.1, at most 5 a photo")


def test_doctor_names_a_detector_that_the_settings_want_and_the_bundle_does_not_have(home: Home) -> None:
    home.config_file.write_text('[engine]\nbundle = "plain"\n[detect]\nmode = "all"\nbundle = "finder"')
    without = detector_check(load_config(home, {}, bundle=home.root / "plain"))
    assert (without.state, "detect.mode = 'all' has no effect" in without.detail) == ("note", True)
    assert "with-detector" in without.remedy
    joined = Path(load_config(home, {}).config.engine.bundle)
    home.config_file.write_text('[detect]\nmode = "subject"\nbundle = "finder"\nthreshold = 0.9')
    other = detector_check(load_config(home, {}, bundle=joined))
    assert other.state == "note"
    assert "not what detect.mode, detect.threshold, detect.most_boxes says" in other.detail


def test_doctor_says_why_a_detector_cannot_run(home: Home) -> None:
    missing = checked(home, bundle="nowhere")
    assert (missing.state, "a detector bundle is a folder" in missing.detail) == ("failed", True)
    slow = checked(home, "[tagger]\ndecode_processes = 1", bundle="finder", mode="subject")
    assert (slow.state, "tagger.decode_processes" in slow.detail) == ("failed", True)
