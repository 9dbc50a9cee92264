"""Fitted heads are at the minimum of their loss, and a strong pull keeps them where they were."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from training import losses
from training.loop.head_fit import fit_head

torch.set_num_threads(1)


def draw() -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    feature = torch.randn(80, 6, generator=generator) * torch.tensor([1.0, 2, 3, 4, 5, 6]) + 3
    single = torch.randint(4, (80,), generator=generator)
    many = torch.rand(80, 4, generator=generator) < 0.4
    start = torch.randn(4, 6, generator=generator) / 6, torch.randn(4, generator=generator)
    return feature, single, many, start


@pytest.mark.parametrize("kind", ["softmax", "multi_label"])
@pytest.mark.parametrize("pull", [0.01, 0.3])
def test_every_step_away_from_the_fit_is_uphill(kind: str, pull: float) -> None:
    feature, single, many, start = draw()
    labels = single if kind == "softmax" else many
    loss_of: Callable[[Tensor, Tensor], Tensor] = (
        losses.softmax_loss if kind == "softmax" else losses.multi_label_softmax
    )
    weight, bias = fit_head(feature, labels, start, pull=pull, steps=200, loss_of=loss_of)
    spread = feature.std(0, correction=0) + 1e-3

    def penalised(w: Tensor, b: Tensor) -> float:
        moved = (w - start[0]) * spread
        return float(loss_of(feature @ w.T + b, labels) + pull * moved.square().sum())

    best = penalised(weight, bias)
    assert best < penalised(*start)
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        away = torch.randn(weight.shape, generator=generator), torch.randn(bias.shape, generator=generator)
        assert penalised(weight + 0.05 * away[0], bias + 0.05 * away[1]) > best


def test_a_strong_pull_keeps_the_weights() -> None:
    feature, single, _, start = draw()
    weight, _ = fit_head(feature, single, start, pull=1e5, steps=100, loss_of=losses.softmax_loss)
    assert weight.numpy() == pytest.approx(start[0].numpy(), abs=1e-4)
