"""Losses of the angle between a code and learnt class centres, for one label a photo and for several.

`normalised_softmax`, `sphereface`, `cosface` and `arcface` differ in one thing: what they make of the cosine of a
photo's own class.

Shapes: `n` photos, `d` dimensions of the code, `p` products, `q` labels. Every function returns a float scalar. Where
nothing in the batch counts, that is a zero through which gradients flow.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from training.losses.softmax import multi_label_softmax, softmax_loss, wide


def normalised_softmax(embedding: Tensor, centres: Tensor, targets: Tensor, scale: float) -> Tensor:
    """Softmax over the cosines times `scale` (NormFace, Wang et al. 2017), without a margin. Shapes as in `arcface`."""
    return _softmax_of_angles(embedding, centres, targets, scale, lambda own: own)


def sphereface(embedding: Tensor, centres: Tensor, targets: Tensor, scale: float, factor: int) -> Tensor:
    """Multiplicative angular margin (Liu et al. 2017): the own class's cosine becomes cos(factor · θ), continued so
    that it falls all the way to θ = π; all times `scale`. Shapes as in `arcface`."""
    return _softmax_of_angles(embedding, centres, targets, scale, lambda own: _many_times(own, factor))


def cosface(embedding: Tensor, centres: Tensor, targets: Tensor, scale: float, margin: float) -> Tensor:
    """Additive cosine margin (Wang et al. 2018): the own class's cosine becomes cos θ − margin; all times `scale`.
    Shapes as in `arcface`."""
    return _softmax_of_angles(embedding, centres, targets, scale, lambda own: own - margin)


def arcface(embedding: Tensor, centres: Tensor, targets: Tensor, scale: float, margin: float) -> Tensor:
    """Additive angular margin (Deng et al. 2019): the own class's cosine becomes cos(θ + margin); all times `scale`.

    `embedding [n, d]` has unit rows and `centres [p, d]` rows of any length, both of any float type. `targets
    int64 [n]` is negative if the photo has no product. `margin` is in radians. Where θ + margin would pass π, the loss
    continues linearly (`with_margin`), so that it never rewards distance.
    """
    return _softmax_of_angles(embedding, centres, targets, scale, lambda own: with_margin(own, margin))


def multi_label_arcface(embedding: Tensor, centres: Tensor, positives: Tensor, scale: float, margin: float) -> Tensor:
    """ArcFace for photos with several labels (GrokNet, KDD 2020, §3.2): a photo is pulled to all their centres.

    `embedding [n, d]` has unit rows, `centres [q, d]` rows of any length, `positives` is float or bool `[n, q]`. The
    mean is over the rows that have a positive. The paper leaves room; we read it so: every positive cosine gets the
    angular margin, then comes the cross-entropy of all logits against 1/k over the k positives. With k = 1 this is
    `arcface`; with margin 0 it is `multi_label_softmax` of the scaled cosines.
    """
    cosine = wide(embedding) @ F.normalize(wide(centres)).T
    mine = positives > 0
    return multi_label_softmax(torch.where(mine, with_margin(cosine, margin), cosine) * scale, mine)


def with_margin(cosine: Tensor, margin: float) -> Tensor:
    """cos(θ + margin) for cos θ of any shape and float type. `margin` is in radians.

    Where θ + margin would pass π, it is cos θ − (1 − cos margin): −1 at θ + margin = π, as before, and falling from
    there on. Deng's own code continues with cos θ − margin · sin margin, which jumps there by
    cos margin + margin · sin margin − 1.
    """
    sine = (1.0 - cosine.square()).clamp(min=1e-6).sqrt()  # 1e-6: a finite gradient at cos = ±1
    shifted = cosine * math.cos(margin) - sine * math.sin(margin)
    return torch.where(cosine > -math.cos(margin), shifted, cosine + math.cos(margin) - 1.0)


def _softmax_of_angles(
    embedding: Tensor, centres: Tensor, targets: Tensor, scale: float, harder: Callable[[Tensor], Tensor]
) -> Tensor:
    """Softmax over the cosines times `scale`, after `harder` has changed the own class's cosines `[n, 1]`."""
    cosine = wide(embedding) @ F.normalize(wide(centres)).T
    place = targets.clamp(min=0)[:, None]
    own = harder(cosine.gather(1, place))
    return softmax_loss(cosine.scatter(1, place, own) * scale, targets)


def _many_times(cosine: Tensor, factor: int) -> Tensor:
    """ψ(θ) = (−1)^k cos(m θ) − 2k for θ from k π / m to (k + 1) π / m, with m = `factor` (Liu et al. 2017, eq. 7)."""
    theta = cosine.clamp(-1 + 1e-6, 1 - 1e-6).acos()  # 1e-6: a finite gradient at cos = ±1
    piece = (theta.detach() * (factor / math.pi)).floor()
    sign = 1.0 - 2.0 * (piece % 2)
    return sign * (theta * factor).cos() - 2.0 * piece
