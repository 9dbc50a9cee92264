"""Losses as pure functions of tensors: no state, no modules, each with its source.

`softmax.py` has the heads' losses, `angular.py` those with class centres, `pairs.py` those over pairs of photos, and
`cascade.py` the one over pairs at several depths of the trunk.
"""

from training.losses.angular import (
    arcface,
    cosface,
    multi_label_arcface,
    normalised_softmax,
    sphereface,
    with_margin,
)
from training.losses.cascade import hard_cascade, hardest
from training.losses.pairs import (
    batch_hard_triplet,
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
    "batch_hard_triplet",
    "contrastive",
    "cosface",
    "distillation",
    "hard_cascade",
    "hardest",
    "multi_label_arcface",
    "multi_label_softmax",
    "normalised_softmax",
    "pairwise_double_margin",
    "relational",
    "soft_bits",
    "softmax_loss",
    "sphereface",
    "spreading",
    "standard_pairs",
    "triplet_rank",
    "wide",
    "with_margin",
]
