from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

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


def test_init_writes_a_recipe_that_trains(groknet: Call, tmp_path: Path) -> None:
    """From a folder of photos to a trained network, by the commands that are printed."""
    shop = tmp_path / "data" / "shop"
    for label, colour in (("mug", "red"), ("cup", "blue")):
        (shop / label).mkdir(parents=True)
        for i in range(12):
            Image.new("RGB", (64, 64), colour).save(shop / label / f"{i}.png")
    recipe = tmp_path / "shop.toml"
    begun = groknet("train", recipe, "--init", shop)
    assert begun.code == Exit.OK, begun.err
    assert "24 photos: 4 test, 20 train" in begun.err
    assert "shop.label: nothing will be offered, because 20 photos with its labels can find a threshold" in begun.err
    assert f"--data {shop.parent}" in begun.err
    again = groknet("train", recipe, "--init", shop)
    assert (again.code, "is there already" in again.err) == (Exit.USAGE, True)
    text = recipe.read_text()
    for old, new in {"size = 224": "size = 48", "share = 32": "share = 4"}.items():
        assert old in text
        text = text.replace(old, new)
    recipe.write_text(text)
    trained = groknet("train", recipe, "--data", shop.parent, "--out", tmp_path / "run")
    assert trained.code == Exit.OK, trained.err


def test_a_run_needs_data_and_out(groknet: Call, tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE)
    missing = groknet("train", recipe, "--out", tmp_path)
    assert (missing.code, "--data is missing" in missing.err) == (Exit.USAGE, True)
