"""Recipes of detectors: what is refused, with its line; and the packaged ones."""

from __future__ import annotations

from pathlib import Path

import pytest

import training
from schemas.errors import ConfigError
from training.detection.recipe import load_detector_recipe

PACKAGED = sorted((Path(training.__file__).parent / "recipes").glob("detect_*.toml"))
GOOD = """name = "a"
side = 320
[schedule]
steps = 10
[[datasets]]
name = "one"
share = 2
[[datasets]]
name = "drawn"
reader = "studio"
scenes = 4
share = 1
"""


def load(folder: Path, text: str) -> object:
    (folder / "r.toml").write_text(text)
    return load_detector_recipe(folder / "r.toml")


def test_a_batch_has_the_shares_of_all_sets(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD).batch == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("side = 320", "side = 300", "multiples of 32"),
        ("steps = 10", "steps = 0", "line 4"),
        ('name = "drawn"', 'name = "one"', "share one name"),
        ("scenes = 4", "", r"datasets\[drawn\]\.scenes"),
        ("share = 2", "shares = 2", "line 7"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, GOOD.replace(old, new))


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        load_detector_recipe(tmp_path / "none.toml")


@pytest.mark.parametrize("path", PACKAGED, ids=[path.name for path in PACKAGED])
def test_packaged_recipes_are_recipes(path: Path) -> None:
    assert load_detector_recipe(path).datasets


def test_there_are_packaged_recipes() -> None:
    assert len(PACKAGED) >= 5
