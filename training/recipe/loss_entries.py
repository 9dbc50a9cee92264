"""How a recipe declares a loss of the embedding or of the hash: one `[[losses]]` table each, typed by its `kind`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.manifest import StableId, Strict

Positive = Annotated[float, Meta(gt=0)]
StandardPairs = Literal["multi_similarity", "circle", "supervised_contrastive", "triplet_margin"]


class _Loss(Strict, frozen=True, kw_only=True, tag_field="kind"):
    """What every loss has. `on` which code; `datasets` whose photos it sees, all where none is named."""

    id: StableId
    weight: Positive = 1.0
    on: Literal["embedding", "hash"] = "embedding"
    datasets: list[str] = msgspec.field(default_factory=list)


class ArcFace(_Loss, frozen=True, kw_only=True, tag="arcface"):
    """Angular margin to the centre of a photo's product."""

    scale: Positive = 64.0
    margin: Annotated[float, Meta(ge=0, lt=1.6)] = 0.5


class MultiLabelArcFace(_Loss, frozen=True, kw_only=True, tag="multi_label_arcface"):
    """Angular margins to the centres of all labels that a photo has of the multi-label head `head`."""

    head: str
    scale: Positive = 64.0
    margin: Annotated[float, Meta(ge=0, lt=1.6)] = 0.5


class Pairwise(_Loss, frozen=True, kw_only=True, tag="pairwise"):
    """Double margin over all pairs of all ranks; the two margins of each kind of pair are the ends of its ramp."""

    alpha: Annotated[float, Meta(ge=1)] = 1.5
    positive: tuple[float, float] = (0.1, 0.7)
    negative: tuple[float, float] = (0.0, 0.7)
    negative_weight: Positive = 10_000.0

    def __post_init__(self) -> None:
        for name, (low, high) in (("positive", self.positive), ("negative", self.negative)):
            if not low < high:
                raise ValueError(f"losses[{self.id}].{name}: the first margin must be below the second")


class Spreading(_Loss, frozen=True, kw_only=True, tag="spreading"):
    """Every photo away from its nearest other, so that the sphere is used evenly."""


class Standard(_Loss, frozen=True, kw_only=True, tag="standard"):
    """A pair loss of pytorch-metric-learning over all pairs of all ranks."""

    name: StandardPairs


LossSpec = ArcFace | MultiLabelArcFace | Pairwise | Spreading | Standard
