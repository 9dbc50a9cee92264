"""The optimiser's rates and steps by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from training.loop.optimiser import build_optimiser, set_rate
from training.recipe import (
    Schedule,
)

torch.set_num_threads(1)


pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # seconds of work; the rest is for machines that do other things besides
]


def plan(**changes: Any) -> Schedule:
    return Schedule(**({"steps": 4, "warmup": 1, "small_size": 32, "views": 1, "record_every": 1} | changes))


def test_rates_warm_up_and_follow_a_cosine() -> None:
    schedule = plan(warmup=4, trunk_rate=1e-3, head_rate=1e-2)
    optimiser = build_optimiser(schedule, [torch.nn.Parameter(torch.ones(1))], [torch.nn.Parameter(torch.ones(1))])
    for step, done, factor in [(0, 0.0, 0.25), (3, 0.0, 1.0), (50, 0.5, 0.5), (99, 1.0, 0.0)]:
        assert set_rate(optimiser, schedule, step, done) == pytest.approx(factor, abs=1e-9)
        assert [g["lr"] for g in optimiser.param_groups] == pytest.approx([1e-3 * factor, 1e-2 * factor], abs=1e-12)


def test_sgd_with_momentum_by_hand() -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    schedule = plan(optimiser="sgd", momentum=0.9, weight_decay=0.0, trunk_rate=0.1, warmup=0)
    optimiser = build_optimiser(schedule, [weight], [torch.nn.Parameter(torch.ones(1))])
    for _ in range(2):
        set_rate(optimiser, schedule, 0, 0.0)
        weight.grad = torch.tensor([1.0])
        optimiser.step()
    assert weight.item() == pytest.approx(1 - 0.1 * 1 - 0.1 * (0.9 + 1))  # the second step carries .9 of the first
