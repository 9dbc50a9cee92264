"""Hard-aware cascade of depths (Yuan, Yang & Zhang, "Hard-aware deeply cascaded embedding", ICCV 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from training.losses.softmax import wide


def hard_cascade(depths: Sequence[Tensor], products: Tensor, shares: Sequence[float], margin: float) -> Tensor:
    """Contrastive losses of several depths of a network, where each deeper one learns from harder pairs alone.

    A pair of one product costs D², another pair max(0, margin − D)² (Hadsell et al. 2006), with D the L2 distance of
    the depth's two rows. Depth 1 takes the share `shares[0]` of all pairs: those that cost it most. Each deeper one
    takes, of the pairs that the depth before it took, those that cost *the depth before it* most, so many that they are
    its share of all pairs. Pairs of one product and other pairs are chosen apart, as in the paper. A depth's loss is
    the mean over its pairs of one product plus the mean over its other pairs, where pairs that cost nothing are left
    out. The result is the mean over the depths.

    Args:
        depths: unit rows of any float type, `[n, d]` for each depth, the shallowest first.
        products: `int64 [n]`, negative if a photo has no product; such a photo is in no pair.
        shares: as many as depths, each at most the one before, above 0 and at most 1.
        margin: an L2 distance.

    Returns:
        A float scalar. Without a pair it is a zero through which gradients flow.
    """
    known = products >= 0
    n = len(products)
    once = torch.ones(n, n, dtype=torch.bool, device=products.device).triu(1)
    pairs = once & known[:, None] & known[None]
    same = products[:, None] == products[None]
    total = depths[0].sum() * 0.0
    for kind, alike in ((pairs & same, True), (pairs & ~same, False)):
        many, taken, before = kind.sum(), kind, None
        for depth, share in zip(depths, shares, strict=True):
            cost = _costs(depth, margin, alike=alike)
            taken = hardest(cost if before is None else before, taken, (share * many).round().clamp(min=1))
            before = cost.detach()
            counted = taken & (before > 0)
            total = total + torch.where(counted, cost, 0.0).sum() / counted.sum().clamp(min=1)
    return total / len(depths)


def hardest(cost: Tensor, among: Tensor, count: Tensor) -> Tensor:
    """`bool [n, n]`: the `count` (a scalar) pairs of `among bool [n, n]` with the highest `cost [n, n]`, or all of them
    if they are fewer. Of two equal costs the earlier pair, row by row, comes first."""
    order = torch.where(among, cost.detach(), -torch.inf).flatten().argsort(descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    return among & (rank.view_as(cost) < count)


def _costs(depth: Tensor, margin: float, *, alike: bool) -> Tensor:
    """What each pair costs, `[n, n]`: pairs of one product (`alike`) or of two."""
    x = wide(depth)
    squared = (2.0 - 2.0 * (x @ x.T)).clamp(min=0)
    if alike:
        return squared
    return (margin - (squared + 1e-12).sqrt()).clamp(min=0).square()  # 1e-12: a finite gradient between equal rows
