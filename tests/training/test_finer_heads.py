"""A head whose labels are groups of another's: the exported graph asks both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from schemas.errors import ConfigError
from training.graph import deployable, run_torch, write_graph
from training.labels import Targets, groups_of
from training.model import Network
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
    network = deployable(Network("efficientnet_lite0", {"coarse": 2, "product": 3}, pretrained=False))
    names = ["coarse", "product", "embedding", "hash"]
    photos = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), np.uint8)
    own = run_torch(network, photos, names)
    shares = np.array([[0, 1], [1, 0], [0.25, 0.75]], np.float32)
    network.groups = {"coarse": ("product", torch.from_numpy(shares))}

    told = run_torch(network, photos, names)
    for photo in range(2):
        lengths = [
            sum(float(own["product"][photo, p]) ** 2 * float(shares[p, label]) for p in range(3)) ** 0.5
            for label in range(2)
        ]
        expected = [(float(own["coarse"][photo, c]) + lengths[c] / sum(lengths)) / 2 for c in range(2)]
        assert told["coarse"][photo] == pytest.approx(expected, abs=1e-6)
    assert np.abs(told["coarse"] - own["coarse"]).max() > 1e-3
    assert np.array_equal(told["product"], own["product"])

    write_graph(network, tmp_path / "model.onnx", 48, names)
    session = ort.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    for name, value in zip(names, session.run(names, {"photos": photos}), strict=True):
        assert np.abs(value.astype(np.float64) - told[name].astype(np.float64)).max() < 1e-4, name
