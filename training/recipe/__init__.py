"""What a recipe may say: typed tables, the losses it may declare, and the line of the file that an error is about.

A recipe is one TOML file. `load_recipe` reads it. No torch is needed to read one.
"""

from training.recipe.loss_entries import (
    ArcFace,
    LossSpec,
    MultiLabelArcFace,
    Pairwise,
    Spreading,
    Standard,
    StandardPairs,
)
from training.recipe.recipe import (
    Augment,
    DataSet,
    Distillation,
    HashLayer,
    HeadSpec,
    Metric,
    Reader,
    Recipe,
    Schedule,
    View,
    Weighting,
    load_recipe,
)

__all__ = [
    "ArcFace",
    "Augment",
    "DataSet",
    "Distillation",
    "HashLayer",
    "HeadSpec",
    "LossSpec",
    "Metric",
    "MultiLabelArcFace",
    "Pairwise",
    "Reader",
    "Recipe",
    "Schedule",
    "Spreading",
    "Standard",
    "StandardPairs",
    "View",
    "Weighting",
    "load_recipe",
]
