"""Recipes: what to train, as one short typed TOML file; unknown keys and impossible values are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.errors import ConfigError
from schemas.manifest import StableId, Strict
from training.network.lite_shapes import LITE
from training.recipe.line_numbers import line_of
from training.recipe.loss_entries import LossSpec, MultiLabelArcFace, Spreading

Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
HashLayer = Literal["rotation", "trained", "itq", "catalyzer", "best"]
Reader = Literal["csv", "studio", "folder", "webdataset", "aliproducts", "inshop", "sop", "products10k", "rp2k"]


class DataSet(Strict, frozen=True, kw_only=True):
    """One data set. `reader` `csv`: `<data>/<folder>/labels.csv`; `studio`: rendered, nothing to download; the others
    are the layouts of `training/readers`, which know of no `val`: `validation` of what is to be learnt is set aside.

    `share` photos of it are in every batch, and `catalogue` of its iconic pictures. `products_of` names the data set
    whose product identities these are: a weakly labelled photo of a mug is the same mug.
    """

    name: StableId
    reader: Reader = "csv"
    folder: str = ""
    validation: Annotated[float, Meta(ge=0, lt=0.5)] = 0.05
    products_of: str = ""
    share: Count
    catalogue: Annotated[int, Meta(ge=0)] = 0
    product: str = ""  # column that is a product identity; empty: each photo is only its own identity
    identities: Count = 500  # studio: products, each seen in `views` photos and one iconic picture
    views: Count = 5
    leave_out: str = ""  # column of whole numbers: what it divides by `leave_out_every` is not trained on at all
    leave_out_every: Annotated[int, Meta(ge=2)] = 5
    held_out: Count = 60  # studio: products of each of val and test, 3 photos and one iconic picture each


class HeadSpec(Strict, frozen=True, kw_only=True):
    """One head. `source` `column`: labels of `datasets`' column with at least `min_images` training photos, in a
    multi-label head several of them with `|` between; `queries`: words of titles; `imagenet`: the packaged
    classifier's classes, distilled from it; `partition`: the column's values dealt into `parts` by their digest, a deal
    of its own for every id. `repeat` makes that many heads of one, `ID-00`, `ID-01` …
    `finer` names a head whose labels are parts of this one's: its answer counts half in the exported graph."""

    id: StableId
    column: str
    datasets: list[str] = msgspec.field(default_factory=list)
    kind: Literal["softmax", "multi_label"] = "softmax"
    source: Literal["column", "queries", "imagenet", "partition"] = "column"
    min_images: Count = 1
    weight: Positive = 1.0
    parts: Annotated[int, Meta(ge=2)] = 4
    finer: str = ""
    repeat: Annotated[int, Meta(ge=1, le=1000)] = 1


class View(Strict, frozen=True, kw_only=True):
    """How far a view of a photo may stray: least share of its area, most degrees of turn, strength of light changes,
    and how likely it is flipped, and to lose a box to its mean colour (random erasing, Zhong et al. 2020). Hue is left
    alone, as colour is a label."""

    least_area: Annotated[float, Meta(gt=0, le=1)] = 0.75
    degrees: Annotated[float, Meta(ge=0, le=180)] = 4.0
    light: Annotated[float, Meta(ge=0, lt=1)] = 0.08
    flip: Annotated[float, Meta(ge=0, le=1)] = 0.5
    erase: Annotated[float, Meta(ge=0, le=1)] = 0.0


class Augment(Strict, frozen=True, kw_only=True):
    """The two views of a photo: a weak one that looks like what is served, and a strong one, its partner in the
    contrastive term."""

    weak: View = View()
    strong: View = View(least_area=0.35, degrees=15.0, light=0.25)


class Metric(Strict, frozen=True, kw_only=True):
    """The losses of the embedding and, times `hash`, of the softened hash; 0 leaves a term out. `relational` needs the
    packaged classifier as its teacher, `contrastive` two views of a photo. Others are declared in `[[losses]]`."""

    arcface: float = 1.0
    scale: Positive = 32.0
    margin: float = 0.25
    contrastive: float = 0.5
    temperature: Positive = 0.1
    memory: Count = 2048
    relational: float = 1.0
    hash: float = 0.5


class Schedule(Strict, frozen=True, kw_only=True):
    """Linear warm-up, cosine to zero; `small_share` of the steps run at `small_size` pixels first. `precision`
    `bfloat16` computes the trunk in half the bits: fast on GPUs since Ampere and CPUs with AMX, slow elsewhere; heads,
    losses and weights stay float32. `auto` is `bfloat16` on a GPU."""

    steps: Count
    optimiser: Literal["adamw", "sgd"] = "adamw"
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.9  # of SGD
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    views: Literal[1, 2] = 2  # of every photo in a batch: a weak one and, second, a strong one
    warmup: Annotated[int, Meta(ge=0)] = 50
    trunk_rate: Positive = 2e-4
    head_rate: Positive = 1e-3
    weight_decay: float = 1e-2
    small_size: Count = 144
    minutes: float = 0.0  # 0: no bound; otherwise the cosine ends when either steps or minutes are through
    small_share: Annotated[float, Meta(ge=0, le=1)] = 0.0
    record_every: Count = 10  # steps between two records of all losses
    smoothing: Annotated[float, Meta(ge=0, lt=1)] = 0.0  # of the softmax heads' targets
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0  # of the feature that the heads see
    average: Annotated[float, Meta(ge=0, lt=1)] = 0.0  # decay of the weights' running mean, which is what is exported


class Distillation(Strict, frozen=True, kw_only=True):
    """What a student takes from a tutor: this recipe with another trunk, `trunk`, trained first (`groknet train
    --as-tutor`, then `--tutor RUN`). Without one nothing of this counts.

    Both see the same views (Beyer et al. 2022). `heads` weighs the KL divergence of every head at `temperature`,
    `embedding` the difference of the cosine matrices of the two embeddings, and `labels` what is left of the heads'
    losses on labels."""

    trunk: str = "efficientnet_lite2"
    steps: int = 0  # of the tutor; 0: as many as the recipe's
    heads: Annotated[float, Meta(ge=0)] = 1.0
    temperature: Positive = 1.5
    embedding: Annotated[float, Meta(ge=0)] = 20.0
    labels: Annotated[float, Meta(ge=0)] = 0.5


class Weighting(Strict, frozen=True, kw_only=True):
    """Factors of the losses. `trend`: of every head but `main`, by how hard it still is on validation photos, looked at
    every so many steps (`every`) on up to `photos` of them and kept within 1 / `limit` and `limit`."""

    rule: Literal["fixed", "trend"] = "fixed"
    main: list[str] = msgspec.field(default_factory=list)
    every: Count = 200
    photos: Count = 512
    limit: Annotated[float, Meta(ge=1)] = 3.0


class Recipe(Strict, frozen=True, kw_only=True):
    """A whole run. `device` `auto` is the GPU where there is one.

    `hash_layer` makes the bits (`training/catalyzer`): `rotation` keeps neighbours of products never seen and loses
    some on those that were trained on; `trained` is the one that was trained along, as `metric.hash` weighs it, best
    on these; `best` is whichever finds most products of validation photos.
    """

    name: StableId
    trunk: str = "efficientnet_lite0"
    pretrained: bool = True
    size: Annotated[int, Meta(ge=32, le=512)] = 176
    cache_size: Annotated[int, Meta(ge=32, le=512)] = 192
    seed: int = 0
    threads: Count = 2
    datasets: list[DataSet]
    heads: list[HeadSpec]
    losses: list[LossSpec] = msgspec.field(default_factory=list)
    metric: Metric = Metric()
    weighting: Weighting = Weighting()
    distillation: Distillation = Distillation()
    augment: Augment = Augment()
    pooling: Literal["gem", "average"] = "gem"
    hash_layer: HashLayer = "rotation"
    schedule: Schedule
    device: Literal["auto", "cpu", "cuda"] = "auto"
    target_precision: Annotated[float, Meta(ge=0, le=1)] = 0.9

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "heads", [one for head in self.heads for one in _repeated(head)])
        names = {d.name for d in self.datasets}
        for spec in self.datasets:
            if spec.products_of and spec.products_of not in names:
                raise ValueError(f"datasets[{spec.name}].products_of: no data set {spec.products_of!r} in this recipe")
        for group, members in (("heads", self.heads), ("losses", self.losses)):
            for member in members:
                unknown = set(member.datasets) - names
                if unknown:
                    what = f"{group}[{member.id}].datasets"
                    raise ValueError(f"{what}: no data set {sorted(unknown)[0]!r} in this recipe")
        if self.cache_size < self.size:
            raise ValueError("cache_size: must be at least size, or training never sees the detail it serves")
        if self.metric.contrastive and self.schedule.views < 2:
            raise ValueError("metric.contrastive: needs schedule.views = 2, or set it to 0")
        self._check_finer()
        self._check_losses()

    @property
    def starts_from_teacher(self) -> bool:
        """Whether the network starts at the packaged weights, its heads and embedding at what these tell apart."""
        return self.trunk in LITE and self.pretrained

    @property
    def teacher_trunk(self) -> str:
        """The packaged Lite trunk that is asked: the run's own where it is one."""
        return self.trunk if self.trunk in LITE else "efficientnet_lite0"

    def as_tutor(self) -> Recipe:
        """The recipe of its tutor: the same with another trunk."""
        plan = msgspec.structs.replace(self.schedule, steps=self.distillation.steps or self.schedule.steps)
        return msgspec.structs.replace(self, name=f"{self.name}-tutor", trunk=self.distillation.trunk, schedule=plan)

    @property
    def needs_teacher(self) -> bool:
        """Whether anything is learnt from, or started at, the frozen packaged trunk."""
        distilled = any(head.source == "imagenet" for head in self.heads)
        return distilled or self.starts_from_teacher or self.metric.relational != 0

    def _check_finer(self) -> None:
        """Both heads of a pair have one label a photo, and the finer one is another head of the same photos."""
        column = {head.id: head for head in self.heads if (head.kind, head.source) == ("softmax", "column")}
        for head in self.heads:
            other = column.get(head.finer)
            if head.finer and (head.id not in column or other in (None, head) or other.datasets != head.datasets):
                raise ValueError(
                    f"heads[{head.id}].finer: {head.finer!r} is no other head of these data sets; both must be "
                    'of kind "softmax" and source "column"'
                )

    def _check_losses(self) -> None:
        """Ids are unique; what a loss or the weighting refers to is there."""
        taken: set[str] = set()
        for group, members in (("heads", self.heads), ("losses", self.losses)):
            for member in members:
                if member.id in taken:
                    raise ValueError(f"{group}[{member.id}].id: taken by another head or loss; give each its own")
                taken.add(member.id)
        for loss in self.losses:
            if isinstance(loss, MultiLabelArcFace):
                head = next((h for h in self.heads if h.id == loss.head), None)
                if head is None or head.kind != "multi_label":
                    raise ValueError(f"losses[{loss.id}].head: {loss.head!r} is no multi-label head of this recipe")
            elif not isinstance(loss, Spreading) and not any(d.product for d in self.datasets):
                raise ValueError(f"losses[{loss.id}].kind: no data set names a product column to learn from")
        known = {f"head.{head.id}" for head in self.heads}
        for main in self.weighting.main:
            if main not in known:
                raise ValueError(f"weighting.main: {main!r} is not `head.` and the id of a head")


def _repeated(head: HeadSpec) -> list[HeadSpec]:
    """The heads that `repeat` asks for."""
    if head.repeat == 1:
        return [head]
    return [msgspec.structs.replace(head, id=f"{head.id}-{i:02d}", repeat=1) for i in range(head.repeat)]


def load_recipe(path: Path) -> Recipe:
    """Read a recipe; raises ConfigError naming the file, the line to change and the key."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe {path}: {error}") from None
    try:
        return msgspec.toml.decode(text, type=Recipe)
    except msgspec.DecodeError as error:
        line = line_of(text, str(error))
        raise ConfigError(f"recipe {path}{f', line {line}' if line else ''}: {error}") from None
