"""Losses over the pairs of a batch: pure functions of tensors, each with its source.

With several ranks the caller gathers rows and ids first (`training/loop/distributed.py`), so that every rank sees all
pairs of all ranks. Shapes: `n` photos of the whole batch, `d` dimensions. Every function returns a float scalar. Where
no pair counts, that is a zero through which gradients flow. A photo with a negative id belongs to no pair, because
nobody knows what it shows.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
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
    cap: bool = False,
) -> Tensor:
    """GrokNet's pairwise loss over all n² pairs of two different photos (KDD 2020, §3.2). It needs no class centres.

    `embedding`, any float type `[n, d]`, has unit rows. `products int64 [n]` is negative if a photo has no product. D
    is the squared L2 distance, from 0 to 4. The subscripts of the published numbers are ambiguous. We read each pair of
    margins as a ramp from no penalty to a penalty of 1:

        positives: max(0, (D − p1) / (p2 − p1))^α    0 up to p1 = 0.1, 1 at p2 = 0.7
        negatives: max(0, (n2 − D) / (n2 − n1))^α    0 from n2 = 0.7 on, 1 at n1 = 0

    There are two readings of what the second margin means. In the first, `cap=False`, the ramp goes on: a positive pair
    at D = 1.3 costs 2^α, so the farthest pairs pull most. In the second, `cap=True`, the penalty ends at 1, and a pair
    beyond the second margin has no gradient: it may be a wrong label. Negatives never pass n1 = 0, so that `cap`
    changes them only for n1 > 0.

    The loss is the mean over positives plus `negative_weight` times the mean over negatives. The weight is large
    because nearly all pairs are negatives, and nearly all of these are beyond their margin. It costs n² · d
    multiply-adds: 2 % of the trunk's for 96 × 46 photos.
    """
    x = wide(embedding)
    distance = 2.0 - 2.0 * (x @ x.T)
    known = products >= 0
    pairs = known[:, None] & known[None] & ~torch.eye(len(x), dtype=torch.bool, device=x.device)
    same = products[:, None] == products[None]
    most = 1.0 if cap else None
    far = ((distance - positive[0]) / (positive[1] - positive[0])).clamp(min=0, max=most).pow(alpha)
    near = ((negative[1] - distance) / (negative[1] - negative[0])).clamp(min=0, max=most).pow(alpha)
    return _mean(far, pairs & same) + negative_weight * _mean(near, pairs & ~same)


def triplet_rank(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 0.0) -> Tensor:
    """Mean of max(0, ‖a − p‖ − ‖a − n‖ + margin) over rows of any float type `[n, d]` (Sablayrolles et al. 2019, §3,
    with margin 0)."""
    near = _length(wide(anchor) - wide(positive))
    far = _length(wide(anchor) - wide(negative))
    return (near - far + margin).clamp(min=0).mean()


def spreading(code: Tensor) -> Tensor:
    """Kozachenko-Leonenko spreading: −mean log of the distance from each row to its nearest other row.

    `code`, any float type `[n, d]`, has unit rows. With n < 2 the loss is 0. It falls as rows move apart, so that the
    whole sphere, and with it every bit, is used evenly (Sablayrolles et al. 2019).
    """
    if len(code) < 2:
        return code.sum() * 0.0
    x = wide(code)
    with torch.no_grad():
        nearest = (x @ x.T).fill_diagonal_(-2.0).argmax(1)  # −2: below every cosine
    return -_length(x - x[nearest]).clamp(min=1e-4).log().mean()  # 1e-4: two equal rows cost 9.2, not infinity


def standard_pairs(
    name: StandardPairs, embedding: Tensor, products: Tensor, parameters: Mapping[str, float] | None = None
) -> Tensor:
    """A pair loss of pytorch-metric-learning; `parameters` replace its defaults (`Standard` has their names).

    `embedding`, any float type `[n, d]`, has unit rows. `products int64 [n]` is negative if a photo has no product.
    multi_similarity: Wang et al. 2019; circle: Sun et al. 2020; supervised_contrastive: Khosla et al. 2020;
    triplet_margin: all triplets that violate a margin of 0.05, unless `parameters` has another; contrastive: Hadsell et
    al. 2006, on distances, with a margin of 1 for negatives; lifted_structure: Song et al. 2016, with a margin of 1.
    """
    from pytorch_metric_learning import losses as library

    known = products >= 0
    if not bool(known.any()):
        return embedding.sum() * 0.0
    loss: torch.nn.Module
    given = dict(parameters or {})
    match name:
        case "multi_similarity":
            loss = library.MultiSimilarityLoss(**given)
        case "circle":
            loss = library.CircleLoss(**given)
        case "supervised_contrastive":
            loss = library.SupConLoss(**given)
        case "triplet_margin":
            loss = library.TripletMarginLoss(**given)
        case "contrastive":
            loss = library.ContrastiveLoss(**given)
        case "lifted_structure":
            loss = library.LiftedStructureLoss(**given)
    value: Tensor = loss(wide(embedding[known]), products[known])
    return value + embedding.sum() * 0.0


def batch_hard_triplet(embedding: Tensor, products: Tensor, margin: float) -> Tensor:
    """Mean of max(0, farthest positive − nearest negative + margin) over the photos that have both (Hermans et al.
    2017, "batch hard"), with L2 distances. PaddleClas calls it TripletLossV2, with a margin of .5.

    `embedding`, any float type `[n, d]`, has unit rows. `products int64 [n]` is negative if a photo has no product.
    """
    x = wide(embedding)
    distance = (2.0 - 2.0 * (x @ x.T)).clamp(min=1e-12).sqrt()  # 1e-12: a finite gradient between equal rows
    known = products >= 0
    pairs = known[:, None] & known[None] & ~torch.eye(len(x), dtype=torch.bool, device=x.device)
    same = products[:, None] == products[None]
    far = distance.masked_fill(~(pairs & same), -1.0).amax(1)
    near = distance.masked_fill(~(pairs & ~same), 3.0).amin(1)  # no distance of unit rows is above 2
    return _mean((far - near + margin).clamp(min=0), (far >= 0) & (near < 3))


def contrastive(
    first: Tensor, second: Tensor, *, temperature: float, same: Tensor, memory: Tensor, same_memory: Tensor
) -> Tensor:
    """InfoNCE over two views of each photo (Oord et al. 2018), with codes of earlier batches as further negatives
    (cross-batch memory, Wang et al. 2020).

    `first [n, d]` and `second [n, d]` have unit rows. Every photo is an identity of its own, and its other view is the
    one positive. `memory [m, d]` carries no gradient. `same bool [n, n]` and `same_memory bool [n, m]` mark pairs of
    one product or photo, which are no negatives.
    """
    own = torch.arange(len(first), device=first.device)
    masked = same & ~torch.eye(len(first), dtype=torch.bool, device=first.device)
    across = wide(first) @ wide(second).T / temperature

    def one_way(logits: Tensor, mask: Tensor, anchors: Tensor) -> Tensor:
        old = wide(anchors) @ wide(memory).T / temperature
        both = torch.cat([logits.masked_fill(mask, -1e9), old.masked_fill(same_memory, -1e9)], 1)
        return F.cross_entropy(both, own)

    return (one_way(across, masked, first) + one_way(across.T, masked.T, second)) / 2


def relational(feature: Tensor, other: Tensor) -> Tensor:
    """Mean squared difference of the cosine matrices of two networks' features of the same photos (after Park et al.
    2019). So the networks agree on which photos look alike.

    `feature [n, d]` is ours, `other [n, e]` the one to imitate. Both are of any float type, with rows of any length.
    The diagonal does not count, so that one photo alone costs nothing.
    """
    if len(feature) < 2:
        return feature.sum() * 0.0
    ours, theirs = F.normalize(wide(feature)), F.normalize(wide(other))
    off = ~torch.eye(len(ours), dtype=torch.bool, device=ours.device)
    return (ours @ ours.T - theirs @ theirs.T)[off].square().mean()


def soft_bits(bits: Tensor) -> Tensor:
    """Hash logits of any float type `[n, b]` → unit rows of softened signs `[n, b]`, on which the losses of the hash
    act.

    24 = 1.5 · 16: a component of a 256-d unit vector is about 1/16, and there tanh is neither flat nor linear.
    """
    return F.normalize(torch.tanh(wide(bits) * 24.0))


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    return (values * counted).sum() / counted.sum().clamp(min=1)


def _length(x: Tensor) -> Tensor:
    return (x.square().sum(1) + 1e-12).sqrt()  # 1e-12: a finite gradient at zero
