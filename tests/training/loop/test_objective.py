"""`[metric]` and its entries give one loss and one gradient, and an entry sees the photos of its data sets alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.tiny import tiny_recipe
from training.data.corpus import Corpus, batches, load_corpus
from training.loop.batch import Batch, make_batch
from training.loop.objective import total_loss
from training.loop.state import State, new_state
from training.network.model import BITS, EMBEDDING, Outputs
from training.recipe import ArcFace, Contrastive, DataSet, LossSpec, Metric, Recipe, Relational, Softmax

torch.set_num_threads(1)
NONE = Metric(arcface=0.0, contrastive=0.0, relational=0.0, hash=0.0)
METRIC = Metric(
    arcface=0.7, scale=8.0, margin=0.2, contrastive=0.3, temperature=0.2, memory=8, relational=2.0, hash=0.6
)
ENTRIES: list[LossSpec] = [
    ArcFace(id="a", weight=0.7, scale=8.0, margin=0.2),
    Contrastive(id="b", weight=0.3, temperature=0.2, memory=8),
    ArcFace(id="c", on="hash", weight=0.7 * 0.6, scale=8.0, margin=0.2),
    Contrastive(id="d", on="hash", weight=0.3 * 0.6, temperature=0.2, memory=8),
    Relational(id="e", weight=2.0),
]
NAMES = ["embedding.arcface", "embedding.contrastive", "hash.arcface", "hash.contrastive", "relational"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("objective")
    return load_corpus(two_sets(), folder, folder / "cache")


def two_sets(metric: Metric = NONE, losses: Sequence[LossSpec] = ()) -> Recipe:
    """The tiny run on two data sets of one product range."""
    recipe = tiny_recipe()
    (studio,) = recipe.datasets
    other = msgspec.structs.replace(studio, name="other", identities=3)
    sets: list[DataSet] = [studio, other]
    return msgspec.structs.replace(recipe, datasets=sets, metric=metric, losses=list(losses))


def outputs(state: State, corpus: Corpus, numbers: np.ndarray, seed: int) -> Batch:
    """A batch with two random views of every photo, through the network."""
    views = torch.rand(2 * len(numbers), 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 255
    return make_batch(corpus, numbers, state.network(views))


def three_steps(recipe: Recipe, corpus: Corpus) -> tuple[list[dict[str, float]], list[Tensor]]:
    """Losses of three batches, so that the memories fill and wrap, and the gradients of all of them together."""
    state = new_state(recipe, corpus)
    state.network.eval()  # no dropout
    found = []
    for seed, numbers in zip(range(3), batches(recipe, corpus, 0), strict=False):
        parts = total_loss(recipe, state, outputs(state, corpus, numbers, seed))
        torch.stack(list(parts.values())).sum().backward()
        found.append({name: float(value.detach()) for name, value in parts.items()})
    everything = [*state.network.parameters(), *state.centres.values()]
    return found, [p.grad for p in everything if p.grad is not None]


@pytest.mark.slow
def test_metric_and_its_entries_have_the_same_losses_and_gradients(corpus: Corpus) -> None:
    short, gradients = three_steps(two_sets(METRIC), corpus)
    spelt, others = three_steps(two_sets(NONE, ENTRIES), corpus)
    renamed = dict(zip((entry.id for entry in ENTRIES), NAMES, strict=True))
    assert [{renamed.get(name, name): value for name, value in step.items()} for step in spelt] == short
    assert len(gradients) == len(others) > len(ENTRIES)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(gradients, others, strict=True))
    assert all(step[name] > 0 for step in short for name in NAMES)


def test_every_loss_with_centres_has_its_own(corpus: Corpus) -> None:
    both = two_sets(METRIC, [ArcFace(id="product")])
    centres = new_state(both, corpus).centres
    assert set(centres) == {"loss:embedding__arcface", "loss:hash__arcface", "loss:product"}
    assert {name: value.shape[1] for name, value in centres.items()} == {
        "loss:embedding__arcface": EMBEDDING,
        "loss:hash__arcface": BITS,
        "loss:product": EMBEDDING,
    }


def test_softmax_is_a_linear_layer_on_the_embedding_before_it_gets_length_1(corpus: Corpus) -> None:
    recipe = two_sets(NONE, [Softmax(id="x", weight=0.5)])
    state = new_state(recipe, corpus)
    state.network.eval()
    batch = outputs(state, corpus, np.arange(6), 1)
    found = float(total_loss(recipe, state, batch)["x"].detach())
    with torch.no_grad():
        neck = batch.out.feature @ state.network.embed.weight.T + state.network.embed.bias
        logits = (neck @ state.centres["loss:x"].T).double().tolist()
    products = np.tile(corpus.products[:6], 2)
    costs = [
        math.log(sum(math.exp(value) for value in row)) - row[product]
        for row, product in zip(logits, products, strict=True)
        if product >= 0
    ]
    assert found == pytest.approx(0.5 * sum(costs) / len(costs), rel=1e-4)


def test_codes_have_the_width_that_the_recipe_says(corpus: Corpus) -> None:
    recipe = msgspec.structs.replace(two_sets(METRIC, [Softmax(id="x")]), embedding=160)
    state = new_state(recipe, corpus)
    assert {name: value.shape[1] for name, value in state.centres.items()} == {
        "loss:embedding__arcface": 160,
        "loss:hash__arcface": BITS,
        "loss:x": 160,
    }
    state.network.eval()
    batch = outputs(state, corpus, np.arange(6), 1)
    assert batch.out.embedding.shape == (12, 160)
    assert all(torch.isfinite(value) for value in total_loss(recipe, state, batch).values())


@pytest.mark.parametrize("kind", ["arcface", "contrastive", "relational"])
def test_an_entry_of_one_data_set_sees_its_photos_alone(corpus: Corpus, kind: str) -> None:
    """A batch of both data sets, of which one counts, is as good as a batch of that one."""
    spec: dict[str, LossSpec] = {
        "arcface": ArcFace(id="x", datasets=["studio"]),
        "contrastive": Contrastive(id="x", datasets=["studio"], memory=8),
        "relational": Relational(id="x", datasets=["studio"]),
    }
    recipe = two_sets(NONE, [spec[kind]])
    mixed = np.concatenate([corpus.sets[0].index("train", False)[:4], corpus.starts[1] + np.arange(4)])
    values = []
    for numbers in (mixed, mixed[:4]):
        state = new_state(recipe, corpus)
        state.network.eval()
        batch = outputs(state, corpus, mixed, 0)
        rows = torch.tensor([*range(len(numbers)), *range(len(mixed), len(mixed) + len(numbers))])
        out = batch.out
        cut = Outputs(
            out.feature[rows],
            {name: logits[rows] for name, logits in out.logits.items()},
            out.embedding[rows],
            out.bits[rows],
            out.neck[rows],
        )
        values.append(total_loss(recipe, state, make_batch(corpus, numbers, cut))["x"].item())
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    assert values[0] != 0


def test_a_batch_knows_which_photos_are_whose(corpus: Corpus, tmp_path: Path) -> None:
    numbers = np.array([0, corpus.starts[1], 1, corpus.starts[1] + 1])
    out = new_state(two_sets(), corpus).network(torch.zeros(8, 3, 32, 32))
    batch = make_batch(corpus, numbers, out)
    assert batch.views == 2
    assert batch.of(["studio"]).tolist() == [True, False, True, False]
    assert batch.of(["studio", "other"]).all()
    assert batch.products.tolist() == corpus.products[numbers].tolist()
    assert batch.put(corpus.frozen.feature).dtype == torch.float32
