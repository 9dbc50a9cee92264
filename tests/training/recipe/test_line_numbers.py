"""A bad recipe is refused with the line to change, and its losses are what the text says."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import ConfigError
from training.recipe import ArcFace, MultiLabelArcFace, Pairwise, Spreading, Standard, load_recipe

TEXT = """\
name = "small"  # line 1
size = 64
cache_size = 96

[schedule]
steps = 10
views = 1

[metric]
contrastive = 0.0
relational = 0.0

[[datasets]]
name = "shop"
folder = "shop"
product = "product"
share = 4

[[heads]]
id = "shop.kind"
column = "kind"
datasets = ["shop"]

[[heads]]
id = "shop.part"
column = "product"
source = "partition"
datasets = ["shop"]
repeat = 3

[[heads]]
id = "query"
column = "query"
source = "queries"
kind = "multi_label"
datasets = ["shop"]

[[losses]]
kind = "arcface"
id = "product.arcface"

[[losses]]
kind = "multi_label_arcface"
id = "query.arcface"
head = "query"
weight = 0.5

[[losses]]
kind = "pairwise"
id = "product.pairs"
negative = [0.1, 0.9]

[[losses]]
kind = "spreading"
id = "hash.spread"
on = "hash"

[[losses]]
kind = "standard"
id = "product.standard"
name = "circle"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "small.toml"
    path.write_text(text)
    return path


def test_losses_and_repeated_heads(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, TEXT))
    assert [head.id for head in recipe.heads] == ["shop.kind", "shop.part-00", "shop.part-01", "shop.part-02", "query"]
    assert [type(loss) for loss in recipe.losses] == [ArcFace, MultiLabelArcFace, Pairwise, Spreading, Standard]
    pairwise = recipe.losses[2]
    assert isinstance(pairwise, Pairwise)
    assert (pairwise.positive, pairwise.negative, pairwise.alpha) == ((0.1, 0.7), (0.1, 0.9), 1.5)
    assert not recipe.needs_frozen_trunk or recipe.starts_from_frozen_trunk


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("size = 64", "sise = 64", 2, "sise"),
        ("size = 64", "size = 640", 2, "512"),
        ("cache_size = 96", "cache_size = 32", 3, "cache_size"),
        ("steps = 10", "stepps = 10", 6, "stepps"),
        ("steps = 10", "", 5, "steps"),
        ("contrastive = 0.0", "contrastive = 0.5", 10, "views"),
        ("share = 4", "share = 0", 17, "share"),
        ('datasets = ["shop"]\nrepeat', 'datasets = ["shoes"]\nrepeat', 28, "shoes"),
        ('kind = "multi_label"', 'kind = "softmax"', 45, "no multi-label head"),
        ('kind = "arcface"', 'kind = "arcfaces"', 39, "arcfaces"),
        ('id = "product.pairs"', 'id = "query"', 50, "has this id"),
        ("negative = [0.1, 0.9]", "negative = [0.9, 0.1]", 51, "first margin"),
        ("negative = [0.1, 0.9]", "alpha = 0.5", 51, "alpha"),
        ('id = "query"', 'id = "shop.kind"', 20, "has this id"),
        ('column = "kind"', 'column = "kind"\nfiner = "query"', 22, "no other head"),
        ('column = "kind"', 'column = "kind"\nfiner = "shop.kind"', 22, "no other head"),
        ('on = "hash"', 'on = "logits"', 56, "logits"),
        ('name = "circle"', 'name = "square"', 61, "square"),
        ('product = "product"', "", 39, "product column"),
        ("share = 4", "share = = 4", 17, "line 17"),
    ],
)
def test_the_line_to_change_is_named(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    assert TEXT.count(old) >= 1
    with pytest.raises(ConfigError) as refused:
        load_recipe(write(tmp_path, TEXT.replace(old, new, 1)))
    assert f"line {line}:" in str(refused.value) or f"line {line}," in str(refused.value), str(refused.value)
    assert message in str(refused.value)


def test_an_unknown_main_task_is_refused(tmp_path: Path) -> None:
    text = TEXT.replace("[metric]", '[weighting]\nrule = "trend"\nmain = ["head.shape"]\n\n[metric]')
    with pytest.raises(ConfigError, match=r"line 11: .*head\.shape"):
        load_recipe(write(tmp_path, text))


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        load_recipe(tmp_path / "none.toml")
