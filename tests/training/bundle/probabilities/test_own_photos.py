"""Training photos that judge heads: each once, by a layer that did not learn from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from schemas.manifest import Hash, Head, Label, Manifest, Preprocess, Training
from training.bundle.probabilities.own_photos import judged_by_others
from training.data.corpus import Corpus
from training.data.frozen_trunk import Frozen
from training.data.labels import Targets
from training.data.photos import PhotoSet
from training.recipe import DataSet, HeadSpec

LABELS, PHOTOS = 3, 60
HEAD = Head(
    id="shop.kind",
    kind="softmax",
    column="kind",
    datasets=["shop"],
    output="head.shop.kind",
    labels=[Label(id=f"k{i}", index=i, value=f"k{i}", merged=["other"] if i == 0 else []) for i in range(LABELS)],
)
MANIFEST = Manifest(
    name="shop",
    model_version="shop-00000000",
    epoch="0" * 12,
    created="2026-11-29T00:00:00+00:00",
    preprocess=Preprocess(width=32, height=32),
    heads=[HEAD],
    hash=Hash(codec="linear-sign (rotation)"),
    training=Training(recipe="shop", command="none"),
    files={},
)


def world(*, products: bool = False, seed: int = 0) -> Corpus:
    """Photos whose features tell the label apart, but for noise. The last five are test photos."""
    rng = np.random.default_rng(seed)
    labels = np.arange(PHOTOS, dtype=np.int64) % LABELS
    feature = (np.eye(8)[labels] * 2 + rng.standard_normal((PHOTOS, 8))).astype(np.float16)
    rows = [
        {"path": f"{i}.jpg", "split": "test" if i >= PHOTOS - 5 else "train", "kind": f"k{label}"}
        for i, label in enumerate(labels)
    ]
    rows[0]["kind"] = "other"  # merged into k0
    spec = HeadSpec(id=HEAD.id, column="kind", datasets=["shop"], merge={"other": "k0"})
    numbers = np.arange(PHOTOS, dtype=np.int64) // 6 if products else np.full(PHOTOS, -1, np.int64)
    return Corpus(
        sets=[PhotoSet(DataSet(name="shop", share=4), np.zeros((PHOTOS, 2, 2, 3), np.uint8), rows)],
        heads=[Targets(spec, [f"k{i}" for i in range(LABELS)], labels)],
        products=numbers,
        frozen=Frozen(np.zeros((PHOTOS, 0), np.float16), feature),
        groups={},
        centre=torch.zeros(8),
        keeps_trunk=True,
    )


@pytest.mark.parametrize("products", [False, True])
def test_every_training_photo_judges_once_and_by_the_others(products: bool) -> None:
    corpus = world(products=products)
    (found,) = judged_by_others(MANIFEST, corpus, HEAD)
    assert found.rows is not None
    assert len(found.rows) == PHOTOS - 5, "test photos judge nothing, and merged texts count"
    assert sorted(found.targets) == sorted(corpus.heads[0].targets[: PHOTOS - 5])
    assert found.correct[:, 0].mean() > 0.7, "the features tell the labels apart"


def test_a_photos_own_label_does_not_help_it() -> None:
    """With labels dealt at random nothing can be learnt, and a judgement by the photo's own label would look right."""
    corpus = world()
    rng = np.random.default_rng(1)
    dealt = rng.permutation(corpus.heads[0].targets)
    rows = [{**row, "kind": f"k{label}"} for row, label in zip(corpus.sets[0].rows, dealt, strict=True)]
    noise = replace(
        corpus,
        heads=[replace(corpus.heads[0], targets=dealt)],
        sets=[replace(corpus.sets[0], rows=rows)],
        frozen=replace(corpus.frozen, feature=rng.standard_normal((PHOTOS, 200)).astype(np.float16)),
    )
    (found,) = judged_by_others(MANIFEST, noise, HEAD)
    assert found.correct[:, 0].mean() < 0.6


def test_heads_of_several_labels_and_mixed_heads_are_left_out() -> None:
    corpus = world()
    assert judged_by_others(MANIFEST, replace(corpus, groups={HEAD.id: ("finer", torch.zeros(1))}), HEAD) == []
