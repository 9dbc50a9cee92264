"""A head whose labels are groups of another's: the exported graph asks both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime as ort
import pytest
import torch

from schemas.errors import ConfigError
from tests.training import tiny
from training.bundle import export
from training.bundle.onnx_graph import ExportedGraph, deployable, run_torch, write_graph
from training.data.corpus import load_corpus
from training.data.labels import Targets, groups_of
from training.loop.state import CHECKPOINT, new_state
from training.network.model import Network
from training.recipe import HeadSpec

COARSE = HeadSpec(id="coarse", column="coarse", datasets=["shop"], finer="product")
FINE = HeadSpec(id="product", column="product", datasets=["shop"])
PRODUCTS = Targets(FINE, ["apple", "milk", "pear"], np.array([0, 0, 2, 2, 1, -1, 2, 1]))


def test_shares_are_counted_over_the_training_photos() -> None:
    kinds = Targets(COARSE, ["dairy", "fruit"], np.array([1, 1, 1, 0, 0, 1, 1, -1]))
    finer, shares = groups_of([kinds, PRODUCTS], np.arange(8))["coarse"]
    assert finer == "product"
    assert shares.numpy() == pytest.approx(np.array([[0, 1], [1, 0], [1 / 3, 2 / 3]]))
    assert groups_of([kinds, PRODUCTS], np.array([0, 2, 4]))["coarse"][1].tolist() == [[0, 1], [1, 0], [0, 1]]
    assert groups_of([PRODUCTS], np.arange(8)) == {}


def test_a_finer_label_of_no_group_is_refused() -> None:
    kinds = Targets(COARSE, ["dairy", "fruit"], np.array([1, 1, 1, 1, -1, 1, 1, -1]))
    with pytest.raises(ConfigError, match=r"heads\[coarse\]\.finer: no training photo of product's 'milk'"):
        groups_of([kinds, PRODUCTS], np.arange(8))


def test_the_graph_gives_the_mean_of_both_answers(tmp_path: Path) -> None:
    """Against the same by loops over labels; torch and ONNX Runtime alike. The finer head speaks for itself."""
    network = Network("efficientnet_lite0", {"coarse": 2, "product": 3}, pretrained=False)
    names = ["coarse", "product", "embedding", "hash"]
    photos = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), np.uint8)
    own = run_torch(deployable(network), photos, names)
    shares = np.array([[0, 1], [1, 0], [0.25, 0.75]], np.float32)
    graph = deployable(network, {"coarse": ("product", torch.from_numpy(shares))})

    both = run_torch(graph, photos, names)
    for photo in range(2):
        lengths = [
            sum(float(own["product"][photo, p]) ** 2 * float(shares[p, label]) for p in range(3)) ** 0.5
            for label in range(2)
        ]
        expected = [(float(own["coarse"][photo, c]) + lengths[c] / sum(lengths)) / 2 for c in range(2)]
        assert both["coarse"][photo] == pytest.approx(expected, abs=1e-6)
    assert np.abs(both["coarse"] - own["coarse"]).max() > 1e-3
    assert np.array_equal(both["product"], own["product"])

    write_graph(graph, tmp_path / "model.onnx", 48, names)
    session = ort.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    for name, value in zip(names, session.run(names, {"photos": photos}), strict=True):
        assert np.abs(value.astype(np.float64) - both[name].astype(np.float64)).max() < 1e-4, name


class _Enough(Exception):
    """The export went as far as this test looks."""


@pytest.mark.parametrize("tutor", ["", "efficientnet_lite2"])
def test_an_export_serves_the_groups_and_says_how_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tutor: str
) -> None:
    heads = [
        HeadSpec(id="studio.category", column="category", datasets=["studio"], finer="studio.product"),
        HeadSpec(id="studio.product", column="product", datasets=["studio"]),
    ]
    recipe = msgspec.structs.replace(tiny.tiny_recipe(), heads=heads)
    corpus = load_corpus(recipe, tmp_path, tmp_path / "cache")
    state = new_state(recipe, corpus)
    state.taught_by = tutor
    state.save(tmp_path / CHECKPOINT)
    seen: dict[str, Any] = {}

    def write(_recipe: object, graph: ExportedGraph, *_: object, facts: Any, **__: object) -> None:
        seen.update(groups=graph.groups, command=facts.command)
        raise _Enough

    monkeypatch.setattr(export, "choose_hash", lambda *_: {})
    monkeypatch.setattr(export, "write_raw", write)
    with pytest.raises(_Enough):
        export.export(recipe, tmp_path, tmp_path, tmp_path / "bundle", cache=tmp_path / "cache", recipe_file="r.toml")
    finer, shares = seen["groups"]["studio.category"]
    products, categories = (target.values for target in reversed(corpus.heads))
    rows = {row["product"]: row["category"] for row in corpus.sets[0].rows}
    assert finer == "studio.product"
    assert [categories[int(row.argmax())] for row in shares] == [rows[product] for product in products]
    last = "groknet train r.toml --data DATA --out RUN"
    if tutor:
        last = f"groknet train r.toml --data DATA --out TUTOR --as-tutor && {last} --tutor TUTOR"
    assert seen["command"] == f"{last} && groknet export RUN --out BUNDLE"
