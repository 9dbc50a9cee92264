"""The tables of a recipe, one class each. `recipe.py` puts them together and checks them against each other."""

from __future__ import annotations

import logging
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.manifest import StableId, Strict
from schemas.units import Count, NotNegative, Positive, Share, ShareBelowOne, ValidationShare, Whole
from training.readers.registry import READERS
from training.recipe.loss_entries import ArcFace, Code, Contrastive, LossSpec, Margin, Relational

log = logging.getLogger(__name__)
HashLayer = Literal[
    "rotation", "trained", "itq", "half_whitened", "half_whitened_itq", "spreading", "best", "catalyzer"
]
"""`catalyzer` is the old name of `spreading`."""

STUDIO = "studio"
"""The reader of rendered photos, which has no folder."""


class DataSet(Strict, frozen=True, kw_only=True):
    """One data set.

    Attributes:
        name: of the data set in this recipe.
        reader: the layout of its folder, a name of `training/readers/registry.py`, or `studio` for rendered photos.
        folder: below the data folder that the command gets.
        validation: the part of the training photos or products that is set aside, where the layout has no `val`.
        products_of: the data set whose products these are too: a weakly labelled photo of a mug is the same mug.
        share: its photos in every batch.
        catalogue: its catalogue photos in every batch.
        together: photos of one product that stand together in a batch, for losses over pairs; `share` is a multiple of
            it. 1 draws photos without regard to their products.
        product: the column that names a photo's product. If it is empty, each photo is only like itself.
        identities: studio: products to draw for training.
        views: studio: photos of each training product, besides one catalogue photo.
        leave_out: a column of whole numbers. Products whose number `leave_out_every` divides are not trained on.
        leave_out_every: see `leave_out`.
        held_out: studio: products of each of val and test, with 3 photos and one catalogue photo each.
        about: one sentence on source and licence, for the bundle's card.
    """

    name: StableId
    reader: str = "csv"
    folder: str = ""
    validation: ValidationShare = 0.05
    products_of: str = ""
    share: Count
    catalogue: Whole = 0
    together: Count = 1
    product: str = ""
    identities: Count = 500
    views: Count = 5
    leave_out: str = ""
    leave_out_every: Annotated[int, Meta(ge=2)] = 5
    held_out: Count = 60
    about: str = ""

    def __post_init__(self) -> None:
        if self.reader != STUDIO and self.reader not in READERS:
            known = ", ".join(sorted([*READERS, STUDIO]))
            raise ValueError(f"datasets[{self.name}].reader: no reader {self.reader!r}; use one of {known}")
        if self.together > 1 and (not self.product or self.share % self.together):
            what = f"datasets[{self.name}].together: needs a `product`, and a `share` that is a multiple of it"
            raise ValueError(what)


class GenericSet(Strict, frozen=True, kw_only=True):
    """Photos of everything. Heads learn from them when they do not apply. The network is not trained on them.

    A file `related.csv` next to the folder's labels.csv may name photos that show something like the products of the
    recipe, by a column that both files have (`training/readers/related.py`). They are left out.

    Attributes:
        name: of the set in this recipe.
        reader: as in `DataSet`.
        folder: below the data folder that the command gets.
        validation: as in `DataSet`.
        shows: data sets of whose kind these photos are too, so that they say nothing about these data sets' heads.
        judged: whether every label on these photos counts as wrong when heads are calibrated. Write false for scenes,
            which may show anything.
        objects: the column that names the photo's class among the 1,000 of the packaged classifier. It calibrates the
            heads of source `imagenet`.
        about: see `DataSet`.
    """

    name: StableId
    reader: str = "csv"
    folder: str = ""
    validation: ValidationShare = 0.05
    shows: list[str] = msgspec.field(default_factory=list)
    judged: bool = True
    objects: str = ""
    about: str = ""

    def __post_init__(self) -> None:
        if self.reader not in READERS:
            known = ", ".join(sorted(READERS))
            raise ValueError(f"generic[{self.name}].reader: no reader {self.reader!r}; use one of {known}")


class HeadSpec(Strict, frozen=True, kw_only=True):
    """One head.

    Attributes:
        id: of the head; with `repeat`, `ID-00`, `ID-01` and so on.
        column: where the labels are. A multi-label column holds several of them, separated by `|`.
        datasets: the data sets whose photos have these labels. The head applies to photos of their kind.
        kind: one label a photo, or several.
        source: `column`: the column's values. `queries`: words of titles. `imagenet`: the 1,000 classes of the packaged
            classifier, which the head learns to imitate. `partition`: the column's values, dealt into `parts` groups
            by their digest; every head id deals differently.
        min_photos: a label needs as many training photos.
        weight: factor of the head's loss.
        parts: see `source`.
        finer: a head whose labels are parts of this head's labels. The exported graph then gives the mean of both
            answers. Training does not change.
        repeat: make as many heads like this one.
        merge: texts of the column that mean another label: `{ "tee" = "t-shirt" }`. A merged text counts as that label
            everywhere, also in `groknet evaluate`.
        names: names of labels by language (BCP 47): `{ "t-shirt" = { en = "T-shirt", fr = "tee-shirt" } }`. Answers and
            the search page use the reader's language where it is there.
        display: names of the head itself by language.
        min_images: the old name of `min_photos`.
    """

    id: StableId
    column: str
    datasets: list[str] = msgspec.field(default_factory=list)
    kind: Literal["softmax", "multi_label"] = "softmax"
    source: Literal["column", "queries", "imagenet", "partition"] = "column"
    min_photos: Count = 1
    weight: Positive = 1.0
    parts: Annotated[int, Meta(ge=2)] = 4
    finer: str = ""
    repeat: Annotated[int, Meta(ge=1, le=1000)] = 1
    merge: dict[str, str] = msgspec.field(default_factory=dict)
    names: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)
    display: dict[str, str] = msgspec.field(default_factory=dict)
    min_images: Count | None = None

    def __post_init__(self) -> None:
        if self.merge and self.source != "column":
            raise ValueError(f"heads[{self.id}].merge: only labels of a column can be merged; leave it out")
        if chained := sorted(self.merge.keys() & set(self.merge.values())):
            raise ValueError(f"heads[{self.id}].merge: {chained[0]!r} is merged and merged into; name its label itself")
        if self.min_images is not None:
            log.warning("heads[%s].min_images is deprecated; write min_photos instead", self.id)
            msgspec.structs.force_setattr(self, "min_photos", self.min_images)
            msgspec.structs.force_setattr(self, "min_images", None)


class View(Strict, frozen=True, kw_only=True):
    """How much a view of a photo may differ from the photo. Hue stays, because colour is a label.

    Attributes:
        least_area: the smallest part of the photo's area that a crop keeps.
        degrees: the largest turn to either side.
        light: the largest relative change of saturation, contrast and brightness.
        flip: the probability of a mirrored view.
        erase: the probability that parts of the view are filled with its mean colour.
        erased: which parts (`training/data/erasing.py`): a random `box` (Zhong et al. 2020), `cells` of a grid, or a
            box at the `salient` place where the network looks most, which costs one more forward pass.
    """

    least_area: Annotated[float, Meta(gt=0, le=1)] = 0.75
    degrees: Annotated[float, Meta(ge=0, le=180)] = 4.0
    light: ShareBelowOne = 0.08
    flip: Share = 0.5
    erase: Share = 0.0
    erased: Literal["box", "cells", "salient"] = "box"


class Augment(Strict, frozen=True, kw_only=True):
    """The two views of a photo. The weak one looks like the photos that are served. The strong one is its partner in
    the contrastive loss."""

    weak: View = View()
    strong: View = View(least_area=0.35, degrees=15.0, light=0.25)


class Metric(Strict, frozen=True, kw_only=True):
    """Short for the usual `[[losses]]` entries of the embedding and the hash; `losses` gives these entries.

    Attributes:
        arcface: weight of ArcFace on products; 0 leaves it out.
        scale: of ArcFace.
        margin: of ArcFace, in radians.
        contrastive: weight of the contrastive loss; 0 leaves it out. It needs `schedule.views = 2`.
        temperature: of the contrastive loss.
        memory: photos that the contrastive loss remembers.
        relational: weight of the relational loss against the frozen trunk; 0 leaves it out.
        hash: ArcFace and the contrastive loss act on the hash too, with their weight times this; 0 leaves that out.
    """

    arcface: NotNegative = 1.0
    scale: Positive = 32.0
    margin: Margin = 0.25
    contrastive: NotNegative = 0.5
    temperature: Positive = 0.1
    memory: Count = 2048
    relational: NotNegative = 1.0
    hash: NotNegative = 0.5

    def losses(self) -> list[LossSpec]:
        """The same as `[[losses]]` entries: `embedding.arcface`, `embedding.contrastive`, `hash.arcface`,
        `hash.contrastive` and `relational`, as far as their weights are above 0."""
        entries: list[LossSpec] = []
        codes: tuple[tuple[Code, float], ...] = (("embedding", 1.0), ("hash", self.hash))
        for code, share in codes:
            if weight := self.arcface * share:
                arcface = ArcFace(id=f"{code}.arcface", on=code, weight=weight, scale=self.scale, margin=self.margin)
                entries.append(arcface)
            if weight := self.contrastive * share:
                name = f"{code}.contrastive"
                entries.append(
                    Contrastive(id=name, on=code, weight=weight, temperature=self.temperature, memory=self.memory)
                )
        if self.relational:
            entries.append(Relational(id="relational", weight=self.relational))
        return entries


class Schedule(Strict, frozen=True, kw_only=True):
    """How long a run is and how fast it learns: a linear warm-up, then a cosine to zero.

    Attributes:
        learns: what learns. `network` is everything. `heads` keeps the trunk as it is: heads are fitted to its
            features, which are computed once and kept, so a run takes minutes, and a few dozen photos of each label
            are enough. `adapter` also learns a small layer behind the trunk, for trunks that are too large to train.
        steps: optimiser steps.
        minutes: a bound on the time of all steps; 0 means none. The cosine ends when steps or minutes are used up.
        optimiser: AdamW, or SGD with `momentum`.
        momentum: of SGD.
        precision: `bfloat16` computes the trunk in 16 bits, which is fast on NVIDIA GPUs since Ampere and on processors
            with AMX, and slow elsewhere. Heads, losses and weights stay float32. `auto` is `bfloat16` on a GPU.
        views: of every photo in a batch: a weak one and, with 2, a strong one.
        warmup: steps of the warm-up.
        trunk_rate: learning rate of the trunk.
        head_rate: learning rate of everything else.
        small_size: photos have this many pixels a side during the first `small_share` of the run.
        record_every: steps between two records of all losses.
        validations: how often a run is judged on validation photos, for the progress bar and the curves; at most 128
            photos each time. 0 leaves it out.
        small_share: see `small_size`; transformers of one size need 0.
        weight_decay: of the optimiser.
        smoothing: label smoothing of the softmax heads.
        dropout: of the feature that the heads see.
        average: decay of the running mean of the weights, which is what is exported; 0 exports the last weights.
    """

    steps: Count
    learns: Literal["network", "heads", "adapter"] = "network"
    optimiser: Literal["adamw", "sgd"] = "adamw"
    momentum: ShareBelowOne = 0.9
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    views: Literal[1, 2] = 2
    warmup: Whole = 50
    trunk_rate: Positive = 2e-4
    head_rate: Positive = 1e-3
    weight_decay: float = 1e-2
    small_size: Count = 144
    minutes: float = 0.0
    small_share: Share = 0.0
    record_every: Count = 10
    validations: Whole = 10
    smoothing: ShareBelowOne = 0.0
    dropout: ShareBelowOne = 0.0
    average: ShareBelowOne = 0.0


class Distillation(Strict, frozen=True, kw_only=True):
    """What a student learns from its tutor. Nothing of this counts in a run without a tutor.

    The tutor is this recipe with another trunk. It is trained first (`groknet train --as-tutor`), then the student
    (`--tutor RUN`). Both see the same views (Beyer et al. 2022).

    Attributes:
        trunk: of the tutor.
        mutual: the tutor is not trained first. It learns in the same run, from the student as well as from the labels
            (deep mutual learning, Zhang et al. 2018). The bundle has the student alone.
        steps: of the tutor's run; 0 means as many as the recipe's.
        heads: weight of the KL divergence between the two networks' heads.
        temperature: of that divergence.
        embedding: weight of the difference between the cosine matrices of the two embeddings.
        labels: factor of the heads' losses on labels, in a run with a tutor.
    """

    trunk: str = "efficientnet_lite2"
    mutual: bool = False
    steps: int = 0
    heads: NotNegative = 1.0
    temperature: Positive = 1.5
    embedding: NotNegative = 20.0
    labels: NotNegative = 0.5


class Weighting(Strict, frozen=True, kw_only=True):
    """Factors of the heads' losses that may change during the run.

    Attributes:
        rule: `fixed` keeps the recipe's weights. `trend` gives a head more weight while its validation loss is high
            and still moves (`training/loop/task_weights.py`).
        main: losses that keep the recipe's weight, as `head.ID`.
        every: steps between two validations.
        photos: validation photos that are looked at, at most.
        limit: factors stay between 1 / limit and limit.
    """

    rule: Literal["fixed", "trend"] = "fixed"
    main: list[str] = msgspec.field(default_factory=list)
    every: Count = 200
    photos: Count = 512
    limit: Annotated[float, Meta(ge=1)] = 3.0
