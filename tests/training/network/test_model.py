"""Pooling and the network's outputs against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.network.model import GeM, Network
from training.network.trunk import EfficientNetLite

torch.set_num_threads(1)


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


def test_heads_sit_on_the_feature_not_on_the_embedding() -> None:
    network = Network("efficientnet_lite0", {"x.y": 3}, pretrained=False)
    assert isinstance(network.trunk, EfficientNetLite)
    out = network(torch.rand(2, 3, 32, 32) * 255)
    assert torch.allclose(out.logits["x.y"], network.head("x.y")(out.feature))
    assert out.embedding.norm(dim=1).tolist() == pytest.approx([1, 1], rel=1e-5)
