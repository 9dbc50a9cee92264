"""Losses of heads: cross-entropy with labels, and with the answers of another network.

Shapes: `n` photos, `l` labels of a head. Logits and targets are float32 or wider inside, whatever comes in. Every
function returns a float scalar. Where nothing in the batch counts, that is a zero through which gradients flow.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def softmax_loss(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy over `logits`, any float type `[n, l]`: the mean over the photos that have a label.

    `targets int64 [n]` is negative if the photo has no label for the head. `smoothing` is the share of the target that
    is spread evenly over all labels (Szegedy et al. 2016, §7).
    """
    kept = targets >= 0
    total = F.cross_entropy(
        wide(logits),
        torch.where(kept, targets, -1),
        ignore_index=-1,
        label_smoothing=smoothing,
        reduction="sum",
    )
    # the division stays on the device: a GPU would have to wait if Python asked it for the count
    return total / kept.sum().clamp(min=1)


def multi_label_softmax(logits: Tensor, positives: Tensor) -> Tensor:
    """Cross-entropy against 1/k over a photo's k positive labels (Mahajan et al. 2018; GrokNet §3.2).

    `logits [n, l]`, `positives` float or bool `[n, l]`. The mean is over the rows that have a positive.
    """
    k = positives.sum(1)
    targets = wide(positives) / k.clamp(min=1)[:, None]
    return -(targets * wide(logits).log_softmax(1)).sum() / (k > 0).sum().clamp(min=1)


def distillation(logits: Tensor, other: Tensor, temperature: float = 1.0, counted: Tensor | None = None) -> Tensor:
    """KL divergence of `softmax(logits / T)` from `softmax(other / T)`, times T² (Hinton et al. 2015).

    `logits [n, l]` are ours, `other [n, l]` those of the network to imitate, both of any float type. T is
    `temperature`, which has no unit. The mean is over the rows that `counted bool [n]` marks, or over all rows. It is 0
    if no row is marked.
    """
    ours, theirs = ((wide(x) / temperature).log_softmax(1) for x in (logits, other))
    rows = F.kl_div(ours, theirs, reduction="none", log_target=True).sum(1)
    kept = torch.ones_like(rows, dtype=torch.bool) if counted is None else counted
    return torch.where(kept, rows, 0.0).sum() / kept.sum().clamp(min=1) * temperature**2


def wide(x: Tensor) -> Tensor:
    """`x` of any shape as float32, or unchanged if it is float64. Half precision has too few digits for a loss."""
    return x if x.dtype == torch.float64 else x.float()
