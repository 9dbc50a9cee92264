"""Embeddings of inner stages: which maps they see, who trains them, and that a bundle is the same without them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from schemas.errors import ConfigError
from tests.training.tiny import tiny_recipe
from training.bundle.onnx_graph import deployable, epoch_of, run_torch, write_graph
from training.data.corpus import Corpus, batches
from training.data.photos import squash
from training.loop.state import new_state
from training.loop.train import train_step
from training.network.model import Network, detached
from training.network.trunk import EfficientNetLite
from training.recipe import HardCascade, Recipe

torch.set_num_threads(1)


def cascaded() -> Recipe:
    return msgspec.structs.replace(tiny_recipe(), losses=[HardCascade(id="product.cascade")])


def test_the_depths_are_the_maps_that_hooks_see() -> None:
    """The last block with 112 and with 192 channels; the last map is what the trunk gives."""
    network = Network("efficientnet_lite0", {}, pretrained=False, cascaded=True).eval()
    assert isinstance(network.trunk, EfficientNetLite)
    assert network.shallow is not None
    seen: dict[int, torch.Tensor] = {}
    for block in network.trunk.blocks:
        block.register_forward_hook(lambda _module, _given, out: seen.update({out.shape[1]: out.detach().clone()}))
    photos = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 255
    *inner, last = network.trunk.stages(photos)
    assert [tuple(one.shape) for one in inner] == [(2, 112, 4, 4), (2, 192, 2, 2)]
    assert torch.equal(last, network.trunk(photos))
    out = network(photos)
    for rows, layer, channels in zip(out.shallow, network.shallow.layers, (112, 192), strict=True):
        expected = layer(seen[channels].mean((2, 3)))
        assert torch.allclose(rows, expected / expected.norm(dim=1, keepdim=True), atol=1e-5)
    assert all(not one.requires_grad for one in detached(out).shallow)


def test_a_step_trains_every_depth(tiny_corpus: Corpus) -> None:
    state = new_state(cascaded(), tiny_corpus)
    assert state.network.shallow is not None
    before = [one.detach().clone() for one in state.network.shallow.parameters()]
    values = train_step(cascaded(), state, tiny_corpus, next(batches(cascaded(), tiny_corpus, 0)), 0.0)
    assert float(values["product.cascade"]) > 0
    for one, old in zip(state.network.shallow.parameters(), before, strict=True):
        assert not torch.equal(one.detach(), old)


def test_a_bundle_is_that_of_the_same_network_without_them(tmp_path: Path) -> None:
    """Same answers, same epoch, same weights in the file; ONNX Runtime answers like torch."""
    torch.manual_seed(2)
    trained = Network("efficientnet_lite0", {"a": 3}, pretrained=False, cascaded=True)
    plain = Network("efficientnet_lite0", {"a": 3}, pretrained=False)
    kept = {name: value for name, value in trained.state_dict().items() if not name.startswith("shallow.")}
    assert len(kept) == len(trained.state_dict()) - 4
    plain.load_state_dict(kept)
    names = ["a", "embedding", "hash"]
    photos = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), np.uint8)
    for name, network in (("cascaded", trained), ("plain", plain)):
        write_graph(deployable(network), tmp_path / f"{name}.onnx", 48, names)
    weights = [
        {one.name: one.raw_data for one in onnx.load(tmp_path / f"{name}.onnx").graph.initializer}
        for name in ("cascaded", "plain")
    ]
    assert weights[0] == weights[1]
    assert epoch_of(trained, squash(48)) == epoch_of(plain, squash(48))
    expected = run_torch(deployable(plain), photos, names)
    session = ort.InferenceSession(str(tmp_path / "cascaded.onnx"), providers=["CPUExecutionProvider"])
    for name, value in zip(names, session.run(names, {"photos": photos}), strict=True):
        assert np.abs(value.astype(np.float64) - expected[name].astype(np.float64)).max() < 1e-4, name


def test_a_trunk_without_stages_is_refused() -> None:
    with pytest.raises(ValueError, match=r"losses\[product\.cascade\]\.kind: needs the stages of a packaged trunk"):
        msgspec.structs.replace(cascaded(), trunk="resnet18d").__post_init__()
    with pytest.raises(ConfigError, match="resnet18d"):
        Network("resnet18d", {}, pretrained=False, cascaded=True)
    with pytest.raises(ValueError, match="none may be larger"):
        HardCascade(id="x", shares=(0.5, 0.6, 0.1))
