"""Losses over the pairs of a batch: pure functions of tensors, as in `losses`, each with its source.

With several ranks the caller gathers rows and ids first (`distributed.gather`), so that every rank sees all pairs of
all ranks. Shapes: `n` photos of the whole batch, `d` dimensions. All return a float scalar and, where no pair counts,
a zero that still carries a gradient path. Photos with a negative id belong to no pair: what they show is not known.
"""

from __future__ import annotations

import torch
from torch import Tensor

from training.losses.softmax import wide
from training.recipe import StandardPairs


def pairwise_double_margin(
    embedding: Tensor,
    products: Tensor,
    *,
    alpha: float = 1.5,
    positive: tuple[float, float] = (0.1, 0.7),
    negative: tuple[float, float] = (0.0, 0.7),
    negative_weight: float = 10_000.0,
) -> Tensor:
    """GrokNet's pairwise loss over all n² pairs but a photo with itself (KDD 2020, §3.2): no class vectors.

    `embedding [n, d]` unit, `products int [n]`; D = squared L2 distance, 0 to 4. The published numbers have ambiguous
    subscripts. Our reading: each margin is a ramp from nothing to a full penalty of 1, and steeper beyond it:

        positives: max(0, (D − p1) / (p2 − p1))^α    nothing within p1 = 0.1, 1 at p2 = 0.7
        negatives: max(0, (n2 − D) / (n2 − n1))^α    nothing beyond n2 = 0.7, 1 at n1 = 0

    loss = mean over positives + `negative_weight` · mean over negatives; the weight makes up for negatives being nearly
    all pairs and nearly all beyond their margin. Cost: n² · d multiply-adds, 2 % of the trunk's at 96 × 46 photos.
    """
    x = wide(embedding)
    distance = 2.0 - 2.0 * (x @ x.T)
    known = products >= 0
    pairs = known[:, None] & known[None] & ~torch.eye(len(x), dtype=torch.bool, device=x.device)
    same = products[:, None] == products[None]
    far = ((distance - positive[0]) / (positive[1] - positive[0])).clamp(min=0).pow(alpha)
    near = ((negative[1] - distance) / (negative[1] - negative[0])).clamp(min=0).pow(alpha)
    return _mean(far, pairs & same) + negative_weight * _mean(near, pairs & ~same)


def triplet_rank(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 0.0) -> Tensor:
    """Mean of max(0, ‖a − p‖ − ‖a − n‖ + margin) over rows `[n, d]` (Sablayrolles et al. 2019, §3: margin 0)."""
    near = _length(wide(anchor) - wide(positive))
    far = _length(wide(anchor) - wide(negative))
    return (near - far + margin).clamp(min=0).mean()


def spreading(code: Tensor) -> Tensor:
    """Kozachenko-Leonenko spreading, −mean log of each row's distance to its nearest other (Sablayrolles et al. 2019).

    `code [n, d]` unit, n ≥ 2; falls as rows move apart, so that the sphere, and with it every bit, is used evenly.
    """
    if len(code) < 2:
        return code.sum() * 0.0
    x = wide(code)
    with torch.no_grad():
        nearest = (x @ x.T).fill_diagonal_(-2.0).argmax(1)  # −2: below every cosine
    return -_length(x - x[nearest]).clamp(min=1e-4).log().mean()  # 1e-4: two equal rows cost 9.2, not infinity


def standard_pairs(name: StandardPairs, embedding: Tensor, products: Tensor) -> Tensor:
    """A standard pair loss as pytorch-metric-learning has it, with its defaults.

    `embedding [n, d]` unit, `products int [n]`. multi_similarity: Wang et al. 2019; circle: Sun et al. 2020;
    supervised_contrastive: Khosla et al. 2020; triplet_margin: all violating triplets, margin 0.05.
    """
    from pytorch_metric_learning import losses as library

    known = products >= 0
    if not bool(known.any()):
        return embedding.sum() * 0.0
    loss: torch.nn.Module
    match name:
        case "multi_similarity":
            loss = library.MultiSimilarityLoss()
        case "circle":
            loss = library.CircleLoss()
        case "supervised_contrastive":
            loss = library.SupConLoss()
        case "triplet_margin":
            loss = library.TripletMarginLoss()
    value: Tensor = loss(wide(embedding[known]), products[known])
    return value + embedding.sum() * 0.0


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    return (values * counted).sum() / counted.sum().clamp(min=1)


def _length(x: Tensor) -> Tensor:
    return (x.square().sum(1) + 1e-12).sqrt()  # 1e-12: a finite gradient at zero
