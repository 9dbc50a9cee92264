"""The optimiser and its rate: AdamW or SGD, linear warm-up, then a cosine to zero."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from training.recipe import Schedule


def build_optimiser(
    plan: Schedule, trunk: Iterable[nn.Parameter], rest: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """An optimiser with two groups of parameters: the trunk at `trunk_rate`, everything else at `head_rate`.

    GrokNet used SGD with momentum 0.9, weight decay 1e-4 and a rate of 0.0144 for 4,416 photos a batch, to be
    scaled with the batch.
    """
    parts = [list(trunk), list(rest)]
    groups = [{"params": p, "rate": r} for p, r in zip(parts, (plan.trunk_rate, plan.head_rate), strict=True)]
    if plan.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=plan.trunk_rate, momentum=plan.momentum, weight_decay=plan.weight_decay)
    on_gpu = parts[1][0].is_cuda
    return torch.optim.AdamW(groups, lr=plan.trunk_rate, weight_decay=plan.weight_decay, fused=on_gpu)


def set_rate(optimiser: torch.optim.Optimizer, plan: Schedule, step: int, done: float) -> float:
    """Set every group's rate for `step`, counted from 0, when the share `done` of the run is over.

    Returns the factor on the recipe's rates: from 0 to 1 during the warm-up, then a cosine from 1 to 0.
    """
    warm = min(1.0, (step + 1) / max(plan.warmup, 1))
    for group in optimiser.param_groups:
        group["lr"] = group["rate"] * warm * 0.5 * (1 + math.cos(math.pi * done))
    return warm * 0.5 * (1 + math.cos(math.pi * done))
