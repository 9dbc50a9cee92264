"""A head whose labels are groups of another's: the exported graph asks both."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto

from schemas.manifest import encode_preprocess
from training.bundle.onnx_graph import deployable, epoch_of, run_torch, write_graph
from training.data.photos import squash
from training.network.model import Network


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


def test_the_epoch_follows_the_hash_path_alone() -> None:
    from training.data.photos import squash

    network = deployable(Network("efficientnet_lite0", {"a": 3}, pretrained=False)).network
    before = epoch_of(network, squash(48))
    with torch.no_grad():
        network.head("a").weight.add_(1)
    assert epoch_of(network, squash(48)) == before
    assert epoch_of(network, squash(64)) != before
    with torch.no_grad():
        network.hash_layer.bias.add_(1)
    assert epoch_of(network, squash(48)) != before


def test_served_bits_are_the_signs_most_significant_first() -> None:
    graph = deployable(Network("efficientnet_lite0", {"a": 3}, pretrained=False))
    photos = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), np.uint8)
    served = run_torch(graph, photos, ["a", "embedding", "hash"])
    with torch.inference_mode():
        out = graph.network(torch.from_numpy(photos).permute(0, 3, 1, 2).float())
    assert np.array_equal(np.unpackbits(served["hash"], axis=1), (out.bits > 0).numpy().astype(np.uint8))
    assert served["a"].sum(1) == pytest.approx([1, 1], abs=1e-5)


def test_an_epoch_does_not_follow_the_name_of_the_hash_layer() -> None:
    """Bundles made when it was called `catalyzer` keep their epoch: the digest, once more by hand."""
    network = deployable(Network("efficientnet_lite0", {"a": 3}, pretrained=False)).network
    digest = hashlib.sha256(encode_preprocess(squash(48)))
    state = {name.replace("hash_layer.", "catalyzer."): value for name, value in network.state_dict().items()}
    for name in sorted(state):
        if not name.startswith("heads."):
            digest.update(name.encode() + state[name].float().numpy().tobytes())
    assert epoch_of(network, squash(48)) == digest.hexdigest()[:12]


def test_batch_norms_of_a_timm_trunk_do_not_change_the_graph(tmp_path: Path) -> None:
    """The exporter folds them into the convolutions; the file still holds halves and answers like torch."""
    torch.manual_seed(4)
    network = Network("resnet18d", {"a": 3}, pretrained=False, pooling="average")
    with torch.no_grad():
        for module in network.trunk.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.3, 1.7)
                module.bias.normal_(std=0.2)
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(std=0.3)
                module.running_var.uniform_(0.5, 2.0)
    graph = deployable(network)
    photos = np.random.default_rng(2).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    write_graph(graph, tmp_path / "model.onnx", 64, ["head.a", "embedding", "hash"])
    session = ort.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    head, embedding, packed = session.run(None, {"photos": photos})
    expected = run_torch(graph, photos, ["head.a", "embedding", "hash"])
    assert np.abs(head - expected["head.a"]).max() < 1e-4
    assert np.abs(embedding - expected["embedding"]).max() < 1e-4
    assert np.bitwise_count(packed ^ expected["hash"]).sum() <= 1
    sizes = {TensorProto.FLOAT: 0, TensorProto.FLOAT16: 0}
    for tensor in onnx.load(tmp_path / "model.onnx").graph.initializer:
        if tensor.data_type in sizes:
            sizes[tensor.data_type] += int(np.prod(tensor.dims))
    assert sizes[TensorProto.FLOAT] < 0.01 * sizes[TensorProto.FLOAT16]
