"""How a recipe declares a loss of the embedding or of the hash: one `[[losses]]` table each, typed by its `kind`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.manifest import StableId, Strict
from schemas.units import Count, NotNegative, Positive

Code = Literal["embedding", "hash"]
"""What a loss acts on: the 400-d embedding, or the softened signs of the 256 hash logits."""

StandardPairs = Literal[
    "multi_similarity", "circle", "supervised_contrastive", "triplet_margin", "contrastive", "lifted_structure"
]
STANDARD_PARAMETERS: dict[StandardPairs, tuple[str, ...]] = {
    "multi_similarity": ("alpha", "beta", "base"),
    "circle": ("m", "gamma"),
    "supervised_contrastive": ("temperature",),
    "triplet_margin": ("margin",),
    "contrastive": ("pos_margin", "neg_margin"),
    "lifted_structure": ("pos_margin", "neg_margin"),
}
Margin = Annotated[float, Meta(ge=0, lt=1.6)]
"""An angle in radians, below about half of π."""
PartOfPairs = Annotated[float, Meta(gt=0, le=1)]


class _Loss(Strict, frozen=True, kw_only=True, tag_field="kind"):
    """What every loss has.

    Attributes:
        id: name of the loss in logs and checkpoints; no other loss or head has it.
        weight: factor of the loss in the sum.
        datasets: only photos of these data sets count; an empty list means all of them.
    """

    id: StableId
    weight: Positive = 1.0
    datasets: list[str] = msgspec.field(default_factory=list)


class _CodeLoss(_Loss, frozen=True, kw_only=True):
    """A loss of one code.

    Attributes:
        on: the code that it acts on, the embedding or the softened bits of the hash.
    """

    on: Code = "embedding"


class ArcFace(_CodeLoss, frozen=True, kw_only=True, tag="arcface"):
    """Angular margin to the centre of a photo's product (Deng et al. 2019). Every product has a learnt centre.

    Attributes:
        scale: factor of the cosines; larger means sharper.
        margin: that is added to the angle, in radians.
    """

    scale: Positive = 64.0
    margin: Margin = 0.5


class Softmax(_Loss, frozen=True, kw_only=True, tag="softmax"):
    """Cross-entropy of a linear layer, with a row for each product, on the embedding before its rows get length 1. So
    PaddleClas trains AliProduct.

    Attributes:
        on: the code that it acts on; there is no other choice.
    """

    on: Literal["embedding"] = "embedding"


class NormalisedSoftmax(_CodeLoss, frozen=True, kw_only=True, tag="normalised_softmax"):
    """Softmax over the cosines to the centres of all products (Wang et al. 2017): ArcFace without a margin.

    Attributes:
        scale: factor of the cosines; larger means sharper.
    """

    scale: Positive = 64.0


class SphereFace(_CodeLoss, frozen=True, kw_only=True, tag="sphereface"):
    """Multiplicative angular margin to the centre of a photo's product (Liu et al. 2017): the angle counts `factor`
    times.

    Attributes:
        scale: factor of the cosines; larger means sharper.
        factor: by which the angle is multiplied.
    """

    scale: Positive = 64.0
    factor: Annotated[int, Meta(ge=1, le=8)] = 2


class CosFace(_CodeLoss, frozen=True, kw_only=True, tag="cosface"):
    """Additive cosine margin to the centre of a photo's product (Wang et al. 2018).

    Attributes:
        scale: factor of the cosines; larger means sharper.
        margin: that is taken off the cosine.
    """

    scale: Positive = 64.0
    margin: Annotated[float, Meta(ge=0, lt=2)] = 0.35


class MultiLabelArcFace(_CodeLoss, frozen=True, kw_only=True, tag="multi_label_arcface"):
    """Angular margins to the centres of all labels that a photo has in the multi-label head `head` (GrokNet §3.2).

    Attributes:
        head: the id of that head.
        scale: factor of the cosines; larger means sharper.
        margin: that is added to the angle, in radians.
    """

    head: str
    scale: Positive = 64.0
    margin: Margin = 0.5


class Pairwise(_CodeLoss, frozen=True, kw_only=True, tag="pairwise"):
    """Double margin over all pairs of all ranks (GrokNet §3.2).

    The two numbers of `positive` and of `negative` are squared distances: where the penalty of such a pair begins or
    ends, and where it is 1. With `cap` the penalty ends at 1 (`training/losses/pairs.py` has both readings).

    Attributes:
        alpha: exponent of the penalty.
        positive: the two margins of pairs of one product.
        negative: the two margins of pairs of two products.
        negative_weight: factor of pairs of two products.
        cap: whether a penalty ends at 1.
    """

    alpha: Annotated[float, Meta(ge=1)] = 1.5
    positive: tuple[float, float] = (0.1, 0.7)
    negative: tuple[float, float] = (0.0, 0.7)
    negative_weight: Positive = 10_000.0
    cap: bool = False

    def __post_init__(self) -> None:
        for name, (low, high) in (("positive", self.positive), ("negative", self.negative)):
            if not low < high:
                raise ValueError(f"losses[{self.id}].{name}: the first margin must be below the second")


class Spreading(_CodeLoss, frozen=True, kw_only=True, tag="spreading"):
    """Push every photo away from its nearest other photo, so that all directions are used (Sablayrolles 2019)."""


class Standard(_CodeLoss, frozen=True, kw_only=True, tag="standard"):
    """A pair loss of pytorch-metric-learning, over all pairs of all ranks.

    `parameters` replace the library's defaults: `alpha`, `beta`, `base` of multi_similarity; `m`, `gamma` of circle;
    `temperature` of supervised_contrastive; `margin` of triplet_margin; `pos_margin` and `neg_margin` of
    contrastive and lifted_structure.

    Attributes:
        name: which loss.
        parameters: of the loss.
    """

    name: StandardPairs
    parameters: dict[str, float] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        known = STANDARD_PARAMETERS[self.name]
        for name in self.parameters:
            if name not in known:
                what = f"losses[{self.id}].parameters: {self.name} has no {name!r}"
                raise ValueError(f"{what}; it has {', '.join(known)}")


class BatchHardTriplet(_CodeLoss, frozen=True, kw_only=True, tag="batch_hard_triplet"):
    """For each photo its farthest positive and its nearest negative of all ranks (Hermans et al. 2017).

    Attributes:
        margin: an L2 distance of unit rows. PaddleClas's TripletLossV2 has .5.
    """

    margin: NotNegative = 0.5


class Contrastive(_CodeLoss, frozen=True, kw_only=True, tag="contrastive"):
    """InfoNCE between the weak and the strong view of a photo (Oord et al. 2018). Needs `schedule.views = 2`.

    Attributes:
        temperature: by which cosines are divided.
        memory: number of earlier weak views that serve as further negatives (Wang et al. 2020).
    """

    temperature: Positive = 0.1
    memory: Count = 2048


class Relational(_Loss, frozen=True, kw_only=True, tag="relational"):
    """Keep which photos look alike: compare the cosines of the trunk's features with those of the frozen trunk
    (after Park et al. 2019). The two trunks must have features of the same width."""


class HardCascade(_Loss, frozen=True, kw_only=True, tag="hard_cascade"):
    """Contrastive losses at three depths of the trunk, where each deeper one learns only from the pairs that the one
    before it found hard (Yuan et al. 2017). Two stages before the last map get embeddings of their own, which are
    thrown away after the run; the deepest embedding is the network's. It needs a packaged Lite trunk.

    Attributes:
        shares: of all pairs, that the three depths learn from; none is larger than the one before.
        margin: an L2 distance of unit rows, from which on two products cost nothing.
    """

    shares: tuple[PartOfPairs, PartOfPairs, PartOfPairs] = (1.0, 0.5, 0.2)
    margin: Positive = 1.0

    def __post_init__(self) -> None:
        if list(self.shares) != sorted(self.shares, reverse=True):
            raise ValueError(f"losses[{self.id}].shares: none may be larger than the one before")


ToCentres = ArcFace | CosFace | SphereFace | NormalisedSoftmax | Softmax
"""Losses with a learnt centre for each product. They differ in the margin; `Softmax` has no angles at all."""

LossSpec = (
    ToCentres
    | MultiLabelArcFace
    | Pairwise
    | Spreading
    | Standard
    | BatchHardTriplet
    | HardCascade
    | Contrastive
    | Relational
)
