"""The rotation of the leading axes against algebra, and which hash layer is chosen when."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from training.bundle import hash_choice
from training.bundle.hash_layers import itq
from training.network.model import BITS
from training.recipe import HashLayer

torch.set_num_threads(1)


class Photos:
    """A data set of so many training photos and, perhaps, validation photos and catalogue pictures of products."""

    def __init__(self, count: int, products: int = 0) -> None:
        self.spec = SimpleNamespace(product="product" if products else "")
        self.rows = [{"product": str(i % max(products, 1))} for i in range(count + 2 * products)]
        self._count, self._products = count, products

    def index(self, split: str, catalogue: bool) -> NDArray[np.int64]:
        if split == "val":
            return np.arange(self._products) + self._count + (self._products if catalogue else 0)
        return np.arange(0 if catalogue else self._count)


@pytest.mark.parametrize(
    ("wanted", "photos", "chosen"),
    [
        ("rotation", 700, "rotation"),
        ("itq", 700, "itq"),
        ("trained", 700, "trained"),
        ("rotation", 2 * BITS, "trained"),
    ],
)
def test_the_wanted_layer_is_chosen_where_it_can_be_fitted(
    monkeypatch: pytest.MonkeyPatch, wanted: HashLayer, photos: int, chosen: str
) -> None:
    rows = np.random.default_rng(0).normal(size=(700, 400)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    monkeypatch.setattr(hash_choice, "embed", lambda _network, _corpus, numbers, _size: rows[numbers])
    monkeypatch.setattr(hash_choice, "fit_spreading_layer", lambda *_, **__: torch.nn.Linear(400, BITS))
    monkeypatch.setattr(hash_choice, "itq", partial(itq, iterations=1))
    corpus = SimpleNamespace(starts=[0], sets=[Photos(photos)], products=np.full(700, -1, np.int64))
    trained = torch.nn.Linear(400, BITS)
    network = SimpleNamespace(hash_layer=trained, embed=torch.nn.Linear(2, 2))
    assert hash_choice.choose_hash(network, corpus, 64, wanted)["hash"] == chosen  # type: ignore[arg-type]
    assert (network.hash_layer is trained) == (chosen == "trained")


@pytest.mark.parametrize("blind", ["trained", "rotation"])
def test_the_best_layer_finds_most_of_the_validation_photos(monkeypatch: pytest.MonkeyPatch, blind: str) -> None:
    """Forty products, a photo of each close to its catalogue picture. A layer that gives every photo one code finds one
    of them; whichever layer is not blind is taken."""
    rng = np.random.default_rng(0)
    pictures = rng.normal(size=(40, 400))
    near = pictures + 0.3 * rng.normal(size=(40, 400))
    rows = np.concatenate([rng.normal(size=(700 - 700 % 40, 400)), near, pictures]).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    photos = Photos(len(rows) - 80, 40)
    seeing, blinded = torch.nn.Linear(400, BITS), torch.nn.Linear(400, BITS)
    torch.nn.init.orthogonal_(seeing.weight)
    torch.nn.init.zeros_(blinded.weight)
    layers = {"trained": seeing, "rotation": seeing} | {blind: blinded}
    monkeypatch.setattr(hash_choice, "embed", lambda _network, _corpus, numbers, _size: rows[numbers])
    monkeypatch.setattr(hash_choice, "hash_layers", lambda *_: (layers, rows[:600]))
    network = SimpleNamespace(hash_layer=None, embed=torch.nn.Linear(2, 2))
    corpus = SimpleNamespace(starts=[0], sets=[photos])
    facts = hash_choice.choose_hash(network, corpus, 64, "best")  # type: ignore[arg-type]
    (expected,) = {"trained", "rotation"} - {blind}
    assert facts["hash"] == expected
    assert network.hash_layer is seeing
    assert facts[f"validation_recall_at_1_{blind}"] == pytest.approx(1 / 40, abs=1e-4)
    assert float(facts[f"validation_recall_at_1_{expected}"]) > 0.9
