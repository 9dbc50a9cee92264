"""What a recipe may say: typed tables, the losses it may declare, and the line of the file that an error is about.

A recipe is one TOML file. `load_recipe` reads it, which needs no torch.
"""

from training.recipe.loss_entries import (
    ArcFace,
    BatchHardTriplet,
    Code,
    Contrastive,
    CosFace,
    LossSpec,
    MultiLabelArcFace,
    NormalisedSoftmax,
    Pairwise,
    Relational,
    Softmax,
    SphereFace,
    Spreading,
    Standard,
    StandardPairs,
    ToCentres,
)
from training.recipe.recipe import Recipe, load_recipe
from training.recipe.tables import (
    STUDIO,
    Augment,
    DataSet,
    Distillation,
    GenericSet,
    HashLayer,
    HeadSpec,
    Metric,
    Schedule,
    View,
    Weighting,
)

__all__ = [
    "STUDIO",
    "ArcFace",
    "Augment",
    "BatchHardTriplet",
    "Code",
    "Contrastive",
    "CosFace",
    "DataSet",
    "Distillation",
    "GenericSet",
    "HashLayer",
    "HeadSpec",
    "LossSpec",
    "Metric",
    "MultiLabelArcFace",
    "NormalisedSoftmax",
    "Pairwise",
    "Recipe",
    "Relational",
    "Schedule",
    "Softmax",
    "SphereFace",
    "Spreading",
    "Standard",
    "StandardPairs",
    "ToCentres",
    "View",
    "Weighting",
    "load_recipe",
]
