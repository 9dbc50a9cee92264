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
    """Two groups of parameters, the trunk at `trunk_rate` and everything else at `head_rate`.

    GrokNet: SGD, momentum 0.9, weight decay 1e-4, rate 0.0144 for 4,416 photos a batch (linear in the batch).
    """
    parts = [list(trunk), list(rest)]
    groups = [{"params": p, "rate": r} for p, r in zip(parts, (plan.trunk_rate, plan.head_rate), strict=True)]
    if plan.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=plan.trunk_rate, momentum=plan.momentum, weight_decay=plan.weight_decay)
    on_gpu = parts[1][0].is_cuda
    return torch.optim.AdamW(groups, lr=plan.trunk_rate, weight_decay=plan.weight_decay, fused=on_gpu)


def set_rate(optimiser: torch.optim.Optimizer, plan: Schedule, step: int, done: float) -> float:
    """Set every group's rate for `step` (from 0), `done` in 0–1 of the run being through; returns the factor."""
    warm = min(1.0, (step + 1) / max(plan.warmup, 1))
    for group in optimiser.param_groups:
        group["lr"] = group["rate"] * warm * 0.5 * (1 + math.cos(math.pi * done))
    return warm * 0.5 * (1 + math.cos(math.pi * done))
