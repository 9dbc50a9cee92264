"""The trainer's choices: optimisers, half precision, weights by trend, curves, several processes, refusals."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from schemas.errors import ConfigError
from training.data.corpus import Corpus, batches, load_corpus
from training.loop.state import State, new_state
from training.loop.train import train, train_step
from training.loop.validation import validate
from training.recipe import (
    ArcFace,
    DataSet,
    HeadSpec,
    Metric,
    MultiLabelArcFace,
    Pairwise,
    Recipe,
    Schedule,
    Weighting,
    load_recipe,
)

ROOT = Path(__file__).parents[3]


torch.set_num_threads(1)


pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # seconds of work; the rest is for machines that do other things besides
]


TEXT = """
name = "small"
trunk = "test_efficientnet_ln"
pretrained = false
size = 32
cache_size = 64
threads = 1
metric = {arcface = 0.0, contrastive = 0.0, relational = 0.0, hash = 0.0}
schedule = {steps = 3, warmup = 1, small_size = 32, views = 1, record_every = 1}
weighting = {rule = "trend", every = 2, photos = 8}
losses = [
    {kind = "arcface", id = "product.arcface"},
    {kind = "multi_label_arcface", id = "query.arcface", head = "query"},
    {kind = "pairwise", id = "product.pairs"},
]
heads = [
    {id = "studio.category", column = "category", datasets = ["studio"]},
    {id = "studio.colour", column = "colour", datasets = ["studio"]},
    {id = "query", column = "query", source = "queries", kind = "multi_label", datasets = ["studio"]},
]

[[datasets]]
name = "studio"
reader = "studio"
product = "product"
share = 4
catalogue = 2
identities = 6
views = 2
held_out = 3
"""


def small(**changes: Any) -> Recipe:
    """A trunk of 0.1 M weights without a frozen trunk on six studio products."""
    studio = DataSet(
        name="studio", reader="studio", product="product", share=4, catalogue=2, identities=6, views=2, held_out=3
    )
    heads = [
        HeadSpec(id="studio.category", column="category", datasets=["studio"]),
        HeadSpec(id="studio.colour", column="colour", datasets=["studio"]),
        HeadSpec(id="query", column="query", source="queries", kind="multi_label", datasets=["studio"]),
    ]
    declared = [
        ArcFace(id="product.arcface"),
        MultiLabelArcFace(id="query.arcface", head="query"),
        Pairwise(id="product.pairs"),
    ]
    recipe = Recipe(
        name="small",
        trunk="test_efficientnet_ln",
        pretrained=False,
        size=32,
        cache_size=64,
        threads=1,
        datasets=[studio],
        heads=heads,
        losses=declared,
        metric=Metric(arcface=0, contrastive=0, relational=0, hash=0),
        schedule=plan(),
    )
    return msgspec.structs.replace(recipe, **changes)


def plan(**changes: Any) -> Schedule:
    return Schedule(**({"steps": 4, "warmup": 1, "small_size": 32, "views": 1, "record_every": 1} | changes))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trainer")


@pytest.fixture(scope="module")
def corpus(cache: Path) -> Corpus:
    return load_corpus(small(), cache, cache)


def steps(recipe: Recipe, state: State, corpus: Corpus, count: int) -> list[dict[str, float]]:
    state.network.train()
    found = []
    for numbers, _ in zip(batches(recipe, corpus, state.step), range(count), strict=False):
        if recipe.weighting.rule == "trend":
            state.weights.observe(validate(recipe, state, corpus)[0])
        values = train_step(recipe, state, corpus, numbers, state.step / 8)
        found.append({name: float(value) for name, value in values.items()})
        state.step += 1
    return found


def test_a_recipe_without_a_frozen_trunk_runs_none(corpus: Corpus) -> None:
    assert corpus.frozen.logits.shape == (len(corpus.products), 0)
    state = new_state(small(), corpus)
    assert set(state.centres) == {"loss:product__arcface", "loss:query__arcface"}


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_a_few_steps_lower_the_loss(corpus: Corpus, optimiser: str) -> None:
    rate = 3e-3 if optimiser == "adamw" else 1e-3
    recipe = small(
        schedule=plan(optimiser=optimiser, trunk_rate=rate, head_rate=rate), losses=[ArcFace(id="product.arcface")]
    )
    found = steps(recipe, new_state(recipe, corpus), corpus, 8)
    assert found[-1]["loss"] < found[0]["loss"]
    assert set(found[0]) == {
        "loss",
        "head.studio.category",
        "head.studio.colour",
        "head.query",
        "product.arcface",
        "p",
    }


def test_half_precision_gives_nearly_the_same_losses(corpus: Corpus) -> None:
    found = {}
    for precision in ("float32", "bfloat16"):
        # GrokNet's weight of 10,000 would blow the last bits of negatives at the margin up to whole numbers
        declared = [ArcFace(id="product.arcface"), Pairwise(id="product.pairs", negative_weight=1.0)]
        recipe = small(schedule=plan(precision=precision), losses=declared)
        found[precision] = steps(recipe, new_state(recipe, corpus), corpus, 1)[0]
    for name, value in found["float32"].items():
        assert found["bfloat16"][name] == pytest.approx(value, rel=0.05), name
    assert found["bfloat16"] != found["float32"]


def test_trend_weights_go_on_bit_for_bit(corpus: Corpus, tmp_path: Path) -> None:
    recipe = small(weighting=Weighting(rule="trend", main=["head.query"], every=1, photos=8))
    whole, cut, resumed = (new_state(recipe, corpus) for _ in range(3))
    last = steps(recipe, whole, corpus, 5)[-1]  # the rule needs four validations
    steps(recipe, cut, corpus, 4)
    cut.save(tmp_path / "checkpoint.pt")
    resumed.load(tmp_path / "checkpoint.pt")
    assert steps(recipe, resumed, corpus, 1)[-1] == last
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
    factors = whole.weights.factors()
    assert set(factors) == {"head.studio.category", "head.studio.colour"}
    # what is recorded is without the factors, their sum with them
    parts = {name: value for name, value in last.items() if name not in ("loss", "p")}
    weighted = sum(value * factors.get(name, 1.0) for name, value in parts.items())
    assert last["loss"] == pytest.approx(weighted, rel=1e-5)


def test_ranks_together_draw_the_batch_of_one(corpus: Corpus) -> None:
    recipe = small()
    double = msgspec.structs.replace(recipe.datasets[0], share=8, catalogue=4)
    sets = [msgspec.structs.replace(recipe, datasets=[double])]
    photos = corpus.sets[0]
    wide = Corpus([type(photos)(double, photos.pixels, photos.rows)], corpus.heads, corpus.products, *_rest_of(corpus))
    whole = batches(sets[0], wide, 2)
    parts = [batches(recipe, corpus, 2, rank, 2) for rank in range(2)]
    for _ in range(3):
        both = np.concatenate([next(part) for part in parts])
        assert sorted(both.tolist()) == sorted(next(whole).tolist())


def _rest_of(corpus: Corpus) -> tuple[Any, Any, torch.Tensor]:
    return corpus.frozen, corpus.groups, corpus.centre


def test_two_processes_train_by_torchrun(corpus: Corpus, cache: Path, tmp_path: Path) -> None:
    recipe = small(schedule=plan(steps=3), weighting=Weighting(rule="trend", every=2, photos=8))
    (tmp_path / "small.toml").write_text(TEXT)
    assert load_recipe(tmp_path / "small.toml") == recipe
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "groknet", "train", str(tmp_path / "small.toml"), "--data", str(tmp_path)]
    command += ["--out", str(tmp_path / "run"), "--cache", str(cache)]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    state = new_state(recipe, corpus)
    state.load(tmp_path / "run" / "checkpoint.pt")
    assert state.step == 3
    assert [record["step"] for record in state.history] == [1, 2, 3]
    assert all(math.isfinite(record["loss"]) for record in state.history)
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1  # one writer


def test_curves_are_written_and_a_resumed_run_hides_what_it_does_again(cache: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = small(schedule=plan(steps=2), losses=[])
    train(recipe, tmp_path, tmp_path / "run", cache=cache)
    train(msgspec.structs.replace(recipe, schedule=plan(steps=3)), tmp_path, tmp_path / "run", resume=True, cache=cache)
    curves = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    curves.Reload()
    assert {"train/loss", "train/head.query", "rate/trunk", "rate/heads"} <= set(curves.Tags()["scalars"])
    assert [event.step for event in curves.Scalars("train/loss")] == [1, 2, 3]


def test_a_frozen_trunk_of_another_width_is_refused(cache: Path, tmp_path: Path) -> None:
    recipe = small(metric=Metric(arcface=0, contrastive=0, relational=1, hash=0))
    with pytest.raises(ConfigError, match=r"metric\.relational.*256 features"):
        train(recipe, tmp_path, tmp_path / "run", cache=cache)
