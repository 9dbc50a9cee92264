"""Losses as pure functions of tensors: no state, no modules, each with its source."""

from training.losses.pairs import pairwise_double_margin, spreading, standard_pairs, triplet_rank
from training.losses.softmax import (
    arcface,
    contrastive,
    distillation,
    multi_label_arcface,
    multi_label_softmax,
    relational,
    soft_bits,
    softmax_loss,
    wide,
    with_margin,
)

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
