from __future__ import annotations

import json
from pathlib import Path

import pytest

from groknet.cli.exits import Exit
from schemas.manifest import load_manifest
from tests.groknet.conftest import Call

pytestmark = pytest.mark.slow

RECIPE = """
name = "tiny"
pretrained = false
size = 48
cache_size = 64
threads = 1
[metric]
memory = 16
[schedule]
steps = 2
warmup = 1
small_size = 32
[[datasets]]
name = "studio"
reader = "studio"
product = "product"
share = 4
catalogue = 2
identities = 6
views = 2
held_out = 2
[[heads]]
id = "studio.colour"
column = "colour"
datasets = ["studio"]
"""


def test_a_recipe_becomes_a_bundle_that_can_be_scored(groknet: Call, tmp_path: Path) -> None:
    recipe, run, bundle = tmp_path / "tiny.toml", tmp_path / "run", tmp_path / "bundle"
    recipe.write_text(RECIPE)
    trained = groknet("train", recipe, "--data", tmp_path, "--out", run)
    assert trained.code == Exit.OK, trained.err
    assert json.loads((run / "run.json").read_text())["data"] == str(tmp_path)
    recipe.unlink()  # the run remembers it
    exported = groknet("export", run, "--out", bundle, "--json")
    assert exported.code == Exit.OK, exported.err
    manifest = load_manifest(bundle)
    assert exported.lines[-1] == {
        "bundle": str(bundle),
        "model_version": manifest.model_version,
        "epoch": manifest.epoch,
    }
    assert [head.id for head in manifest.heads] == ["studio.colour"]
    assert "groknet export RUN --out BUNDLE" in manifest.training.command
    assert groknet("doctor", "--home", tmp_path, "--bundle", bundle).code == Exit.OK
