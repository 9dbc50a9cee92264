"""Checkpoints go on bit for bit, those of the layout before `[metric]` became entries as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from tests.training.tiny import tiny_recipe
from training.data.corpus import Corpus, batches
from training.loop.state import State, load_network, new_state
from training.loop.train import train_step
from training.recipe import ArcFace, Metric, Recipe

torch.set_num_threads(1)
OLD_CENTRES = {"loss:embedding__arcface": "embedding", "loss:hash__arcface": "hash"}


def steps(recipe: Recipe, state: State, corpus: Corpus, count: int) -> list[dict[str, float]]:
    state.network.train()
    found = []
    for numbers, _ in zip(batches(recipe, corpus, state.step), range(count), strict=False):
        values = train_step(recipe, state, corpus, numbers, state.step / 4)
        found.append({name: float(value) for name, value in values.items()})
        state.step += 1
    return found


def as_before(saved: dict[str, Any], products: int) -> dict[str, Any]:
    """A checkpoint as earlier versions wrote it: `catalyzer`, one memory, centres by code, also for an unused hash."""
    for part in ("network", "average"):
        saved[part] = {name.replace("hash_layer", "catalyzer"): value for name, value in saved[part].items()}
    centres = {OLD_CENTRES.get(name, name): value for name, value in saved["centres"].items()}
    if "hash" not in centres:
        rest = saved["optimiser"]["param_groups"][1]["params"]
        place = len(rest) - len(centres) + 1  # behind the embedding's
        moved = {
            number + (number >= rest[place - 1] + 1): value for number, value in saved["optimiser"]["state"].items()
        }
        rest[place:] = [rest[place - 1] + 1, *(number + 1 for number in rest[place:])]
        saved["optimiser"]["state"] = moved
        embedding = centres.pop("embedding")
        centres = {"embedding": embedding, "hash": torch.zeros(products, 256), **centres}
    memories = saved.pop("memories")
    shared = memories["embedding.contrastive"]
    empty = {"codes": torch.zeros(len(shared["numbers"]), 256)}
    both = {"embedding": shared["codes"], "hash": memories.get("hash.contrastive", empty)["codes"]}
    one = {name: shared[name] for name in ("numbers", "products", "place")}
    return saved | {"centres": centres, "memory": one | both}


@pytest.mark.slow
@pytest.mark.parametrize("old", [False, True], ids=["present layout", "old layout"])
@pytest.mark.parametrize("metric", [Metric(memory=16), Metric(memory=16, hash=0.0)])
def test_a_run_that_was_cut_goes_on_bit_for_bit(tiny_corpus: Corpus, tmp_path: Path, metric: Metric, old: bool) -> None:
    recipe = msgspec.structs.replace(tiny_recipe(), metric=metric, losses=[ArcFace(id="product", scale=8.0)])
    whole, cut, resumed = (new_state(recipe, tiny_corpus) for _ in range(3))
    last = steps(recipe, whole, tiny_corpus, 3)[-1]
    steps(recipe, cut, tiny_corpus, 2)
    path = tmp_path / "checkpoint.pt"
    cut.save(path)
    if old:
        torch.save(as_before(torch.load(path, weights_only=True), int(tiny_corpus.products.max()) + 1), path)
        assert set(torch.load(path, weights_only=True)["centres"]) == {"embedding", "hash", "loss:product"}
    resumed.load(path)
    assert steps(recipe, resumed, tiny_corpus, 1) == [last]
    for name, value in whole.centres.items():
        assert torch.equal(value, resumed.centres[name]), name
    for part in ("network", "best"):
        for name, value in getattr(whole, part).state_dict().items():
            assert torch.equal(value, getattr(resumed, part).state_dict()[name]), (part, name)
    network, _ = load_network(path, recipe, tiny_corpus.sizes)  # what an export takes
    for name, value in cut.best.state_dict().items():
        assert torch.equal(value, network.state_dict()[name]), name


def test_checkpoints_are_replaced_whole(tiny_corpus: Corpus, tmp_path: Path) -> None:
    state = new_state(tiny_recipe(), tiny_corpus)
    for step in (1, 2):
        state.step = step
        state.save(tmp_path / "checkpoint.pt")
        assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == step
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.slow
def test_the_exported_weights_are_the_running_mean(tiny_corpus: Corpus) -> None:
    recipe = tiny_recipe()
    state = new_state(recipe, tiny_corpus)
    mean = state.network.embed.weight.detach().clone().double()
    for step, numbers in zip(range(3), batches(recipe, tiny_corpus, 0), strict=False):
        train_step(recipe, state, tiny_corpus, numbers, 0.0)
        state.step += 1
        share = 1 - min(0.9, (1 + step) / (10 + step))
        mean += share * (state.network.embed.weight.detach().double() - mean)
    assert state.best is not state.network
    torch.testing.assert_close(state.best.embed.weight.double(), mean, rtol=0, atol=1e-6)
