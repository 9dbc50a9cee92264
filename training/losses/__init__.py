"""Losses as pure functions of tensors: no state, no modules, each with its source.

`softmax.py` has the heads' losses, `angular.py` those with class centres, `pairs.py` those over pairs of photos.
"""

from training.losses.angular import arcface, multi_label_arcface, with_margin
from training.losses.pairs import (
    contrastive,
    pairwise_double_margin,
    relational,
    soft_bits,
    spreading,
    standard_pairs,
    triplet_rank,
)
from training.losses.softmax import distillation, multi_label_softmax, softmax_loss, wide

__all__ = [
    "arcface",
    "contrastive",
    "distillation",
    "multi_label_arcface",
    "multi_label_softmax",
    "pairwise_double_margin",
    "relational",
    "soft_bits",
    "softmax_loss",
    "spreading",
    "standard_pairs",
    "triplet_rank",
    "wide",
    "with_margin",
]
