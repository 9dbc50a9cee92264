"""`groknet reference` and `groknet export --phone`: bundles that nobody trained here, and one for phones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groknet.cli.exits import Exit
from groknet.home.config import demo_bundle
from tests.groknet.conftest import Call

pytestmark = pytest.mark.slow


def test_a_reference_says_loudly_that_it_is_random(groknet: Call, tmp_path: Path) -> None:
    out = tmp_path / "reference"
    small = ("--trunk", "resnet18", "--size", "64", "--heads", "3")
    made = groknet("reference", out, *small, "--json")
    assert made.code == Exit.OK, made.err
    assert made.json["heads"] == 3
    assert made.json["weights"] == "random"
    assert "random weights: predictions of this bundle are noise" in made.err
    assert groknet("engine", "verify", out).code == Exit.OK
    again = groknet("reference", out, *small)
    assert (again.code, "is there already" in again.err) == (Exit.USAGE, True)
    wrong = groknet("reference", tmp_path / "new", *small, "--weights", tmp_path / "none.pth")
    assert (wrong.code, "none.pth is no file" in wrong.err) == (Exit.USAGE, True)


def test_a_bundle_for_phones(groknet: Call, tmp_path: Path) -> None:
    out = tmp_path / "phone"
    made = groknet("export", demo_bundle(), "--out", out, "--phone", "--json")
    assert made.code == Exit.OK, made.err
    names = {path.name for path in out.iterdir()}
    assert names == {"model.ncnn.param", "model.ncnn.bin", "manifest.json", "phone.json"}
    assert made.json["bytes"] == sum(path.stat().st_size for path in out.iterdir())
    assert json.loads((out / "phone.json").read_text())["epoch"] == made.json["epoch"]


def test_what_phones_cannot_have_is_said(groknet: Call, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for arguments, code, text in (
        ((run,), Exit.USAGE, "is no bundle; export the run first"),
        ((tmp_path / "none",), Exit.NOT_FOUND, "no such bundle"),
        ((demo_bundle(), "--data", run), Exit.USAGE, "--data: not with --phone"),
    ):
        answer = groknet("export", *arguments, "--out", tmp_path / "phone", "--phone")
        assert (answer.code, text in answer.err) == (code, True), answer.err
