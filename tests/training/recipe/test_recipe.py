"""Recipes: the committed one loads, and bad ones are refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from schemas.errors import ConfigError
from training.recipe import load_recipe

torch.set_num_threads(1)


RECIPES = Path(__file__).parents[3] / "training" / "recipes"


def test_the_committed_recipe_loads() -> None:
    demo = load_recipe(RECIPES / "demo.toml")
    assert {head.id for head in demo.heads} >= {"object", "grocery.product", "clothing.type", "query"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (r"^steps = ", "stepps = ", "stepps"),
        (r'datasets = \["clothing"\]', 'datasets = ["cloths"]', "no data set 'cloths'"),
        (r"^cache_size = \d+", "cache_size = 64", "cache_size"),
        (r"^share = \d+", "share = 0", "share"),
        (r'^folder = "fashion"', 'reader = "imagenet"', "imagenet"),
        (r'^folder = "fashion"', 'products_of = "shoes"', "no data set 'shoes'"),
    ],
)
def test_a_bad_recipe_is_refused_by_name(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (RECIPES / "demo.toml").read_text()
    bad = re.sub(old, new, text, flags=re.MULTILINE)
    assert bad != text
    (tmp_path / "bad.toml").write_text(bad)
    with pytest.raises(ConfigError, match=message):
        load_recipe(tmp_path / "bad.toml")
