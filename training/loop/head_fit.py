"""Linear heads fitted to fixed features: L-BFGS on the head's own loss with a penalty."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# on a trunk that stays as it is
PULL = 0.03  # of the weights to 0, on standardised features; validation photos tell no difference from a third of it
STEPS = 40

Layer = tuple[Tensor, Tensor]
"""Weight `float32 [labels, f]` and bias `float32 [labels]`."""


@torch.enable_grad()
def fit_head(
    feature: Tensor,
    labels: Tensor,
    start: Layer,
    *,
    pull: float,
    steps: int,
    loss_of: Callable[[Tensor, Tensor], Tensor],
) -> Layer:
    """The layer with the least loss on `feature [n, f]` and `labels`, which stays near `start`.

    The loss is `loss_of(logits [n, labels], labels)` plus `pull` times the squared distance of the weights from
    `start`. That distance is taken on standardised features, so that `pull` means the same for every feature.

    Args:
        feature: float32.
        labels: as `loss_of` takes them.
        start: where the search begins, and what the penalty pulls to; a layer of zeros is ordinary weight decay.
        pull: strength of the penalty.
        steps: L-BFGS iterations at most.
        loss_of: a convex loss of logits and labels.

    Returns:
        Weight and bias for features that are not standardised.
    """
    mean, spread = feature.mean(0), feature.std(0, correction=0) + 1e-3
    x = (feature - mean) / spread
    with torch.no_grad():
        begin = start[0] * spread
        level = start[1] + start[0] @ mean
    weight, bias = begin.clone().requires_grad_(), level.clone().requires_grad_()
    solver = torch.optim.LBFGS([weight, bias], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        loss = loss_of(F.linear(x, weight, bias), labels) + pull * (weight - begin).square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    solver.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        plain = weight / spread
        return plain, bias - plain @ mean
