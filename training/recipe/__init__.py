"""What a recipe may say: typed tables, the losses it may declare, and the line of the file that an error is about.

A recipe is one TOML file. `load_recipe` reads it, which needs no torch.
"""

from training.recipe.loss_entries import (
    ArcFace,
    Contrastive,
    LossSpec,
    MultiLabelArcFace,
    Pairwise,
    Relational,
    Spreading,
    Standard,
    StandardPairs,
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
    "Contrastive",
    "DataSet",
    "Distillation",
    "GenericSet",
    "HashLayer",
    "HeadSpec",
    "LossSpec",
    "Metric",
    "MultiLabelArcFace",
    "Pairwise",
    "Recipe",
    "Relational",
    "Schedule",
    "Spreading",
    "Standard",
    "StandardPairs",
    "View",
    "Weighting",
    "load_recipe",
]
