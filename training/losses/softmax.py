"""Losses as pure functions of tensors: no state, no modules, each with its source.

Shapes: `n` photos, `l` labels of a head, `p` products, `d` dimensions. All return a float scalar and, where nothing
in the batch counts, a zero that still carries a gradient path.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def softmax_loss(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy over `logits [n, l]`; `targets int [n]`, negative where the photo has no label for the head.

    `smoothing` is the share of the target spread evenly over all labels (Szegedy et al. 2016, §7).
    """
    return _mean_cross_entropy(logits, targets, smoothing)


def multi_label_softmax(logits: Tensor, positives: Tensor) -> Tensor:
    """Cross-entropy against 1/k over a photo's k positive labels (Mahajan et al. 2018; GrokNet §3.2).

    `positives` float or bool `[n, l]`; rows without a positive do not count.
    """
    k = positives.sum(1)
    targets = wide(positives) / k.clamp(min=1)[:, None]
    return -(targets * wide(logits).log_softmax(1)).sum() / (k > 0).sum().clamp(min=1)


def arcface(embedding: Tensor, centres: Tensor, targets: Tensor, scale: float, margin: float) -> Tensor:
    """Additive angular margin (Deng et al. 2019): the own class's cosine becomes cos(θ + margin), times `scale`.

    `embedding [n, d]` unit, `centres [p, d]` any length, `targets int [n]`, negative where there is no product. Where
    θ + margin would pass π the loss goes on linearly, cos θ − margin · sin margin, so that it never rewards distance.
    """
    cosine = wide(embedding) @ F.normalize(wide(centres)).T
    place = targets.clamp(min=0)[:, None]
    own = with_margin(cosine.gather(1, place), margin)
    return _mean_cross_entropy(cosine.scatter(1, place, own) * scale, targets)


def multi_label_arcface(embedding: Tensor, centres: Tensor, positives: Tensor, scale: float, margin: float) -> Tensor:
    """ArcFace for photos of several queries (GrokNet, KDD 2020, §3.2): pulled to all their centres at once.

    `embedding [n, d]` unit, `centres [q, d]` any length, `positives` float or bool `[n, q]`; rows without a positive do
    not count. Our reading: every positive cosine gets the angular margin, then the cross-entropy of all logits against
    1/k over the k positives. With k = 1 it is `arcface`, with margin 0 `multi_label_softmax` of the scaled cosines.
    """
    cosine = wide(embedding) @ F.normalize(wide(centres)).T
    mine = positives > 0
    return multi_label_softmax(torch.where(mine, with_margin(cosine, margin), cosine) * scale, mine)


def _mean_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean over the rows whose target is not negative; 0 where there is none. Nothing here asks the device for a
    number, which would make a GPU wait at every loss."""
    kept = targets >= 0
    total = F.cross_entropy(
        wide(logits),
        torch.where(kept, targets, -1),
        ignore_index=-1,
        label_smoothing=smoothing,
        reduction="sum",
    )
    return total / kept.sum().clamp(min=1)


def with_margin(cosine: Tensor, margin: float) -> Tensor:
    """cos(θ + margin) of cos θ; cos θ − margin · sin margin where θ + margin would pass π."""
    sine = (1.0 - cosine.square()).clamp(min=1e-6).sqrt()  # 1e-6: a finite gradient at cos = ±1
    shifted = cosine * math.cos(margin) - sine * math.sin(margin)
    return torch.where(cosine > -math.cos(margin), shifted, cosine - margin * math.sin(margin))


def contrastive(
    first: Tensor, second: Tensor, *, temperature: float, same: Tensor, memory: Tensor, same_memory: Tensor
) -> Tensor:
    """InfoNCE over two views `[n, d]`, unit rows (Oord et al. 2018), with a memory of earlier batches as further
    negatives (Wang et al. 2020, cross-batch memory).

    Every photo is its own identity: its other view is the one positive. `same bool [n, n]` and `same_memory bool
    [n, m]` mark pairs of one product or photo, which are no negatives; `memory [m, d]` carries no gradient.
    """
    own = torch.arange(len(first), device=first.device)
    masked = same & ~torch.eye(len(first), dtype=torch.bool, device=first.device)
    across = wide(first) @ wide(second).T / temperature

    def one_way(logits: Tensor, mask: Tensor, anchors: Tensor) -> Tensor:
        old = wide(anchors) @ wide(memory).T / temperature
        both = torch.cat([logits.masked_fill(mask, -1e9), old.masked_fill(same_memory, -1e9)], 1)
        return F.cross_entropy(both, own)

    return (one_way(across, masked, first) + one_way(across.T, masked.T, second)) / 2


def distillation(logits: Tensor, teacher: Tensor, temperature: float = 1.0, counted: Tensor | None = None) -> Tensor:
    """KL divergence of `softmax(logits / T)` from `softmax(teacher / T)`, both `[n, l]`, times T² (Hinton et al. 2015),
    the mean over the rows that `counted bool [n]` marks, or over all; 0 where it marks none."""
    ours, theirs = ((wide(x) / temperature).log_softmax(1) for x in (logits, teacher))
    rows = F.kl_div(ours, theirs, reduction="none", log_target=True).sum(1)
    kept = torch.ones_like(rows, dtype=torch.bool) if counted is None else counted
    return torch.where(kept, rows, 0.0).sum() / kept.sum().clamp(min=1) * temperature**2


def relational(feature: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the two batches' cosine matrices (after Park et al. 2019; similarity-preserving).

    `feature [n, d]`, `teacher [n, e]` of any length; keeps which photos look alike as the frozen trunk saw it.
    """
    ours, theirs = F.normalize(wide(feature)), F.normalize(wide(teacher))
    off = ~torch.eye(len(ours), dtype=torch.bool, device=ours.device)
    return (ours @ ours.T - theirs @ theirs.T)[off].square().mean()


def soft_bits(bits: Tensor) -> Tensor:
    """Hash logits `[n, b]` → unit rows of softened signs, what the hash's share of the metric losses sees.

    24 = 1.5 · 16: a component of a 256-d unit vector is about 1/16, so that tanh works where it bends.
    """
    return F.normalize(torch.tanh(wide(bits) * 24.0))


def wide(x: Tensor) -> Tensor:
    """`x` in float32, or as it is where it is float64: half precision is too short for a loss."""
    return x if x.dtype == torch.float64 else x.float()
