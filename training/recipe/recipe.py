"""A recipe: what to train, as one short typed TOML file. Unknown keys and impossible values are refused by name."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.errors import ConfigError
from schemas.manifest import StableId, Strict
from schemas.units import Count, Share
from training.network.lite_shapes import LITE, OPEN_CLIP, AttentionKind
from training.recipe.line_numbers import told
from training.recipe.loss_entries import Contrastive, HardCascade, LossSpec, MultiLabelArcFace, Relational, Spreading
from training.recipe.mistakes import all_mistakes
from training.recipe.tables import (
    Augment,
    DataSet,
    Distillation,
    GenericSet,
    HashLayer,
    HeadSpec,
    Metric,
    Schedule,
    Weighting,
)

log = logging.getLogger(__name__)


class Recipe(Strict, frozen=True, kw_only=True):
    """A whole run.

    Attributes:
        name: of the recipe; the model's version begins with it.
        seed: of everything that is drawn at random.
        pooling: how the trunk's map becomes one feature: `gem` with a learnt exponent, or the `average`, which
            transformers need.
        attention: weighs the trunk's map before it is pooled (`training/network/attention.py`): by `channel`, by place
            (`spatial`), or by `both`. `none` leaves it as it is.
        embedding: dimensions of the embedding. GrokNet has 400, the recipes of PaddleClas 512.
        trunk: a Lite trunk whose weights come in a package, the name of a timm model, or `open_clip/MODEL`, the image
            tower of a model of open_clip.
        pretrained: start at published weights, which timm downloads. False starts at random ones.
        weights: a file with the trunk's weights instead (.safetensors, or a torch state dict), below the data folder.
            A tower of open_clip has no others.
        size: pixels a side that the network is trained for and served with.
        cache_size: pixels a side of the decoded photos on disk; at least `size`.
        threads: of torch, on the processor.
        generic: sets of photos of everything. With them, the bundle knows to which photos each head applies.
        losses: `[[losses]]` entries. `[metric]` is short for the usual ones; `all_losses` has both.
        hash_layer: which layer makes the bits (`training/bundle/hash_choice.py`). `rotation` keeps the neighbours of
            products that training never saw, and loses some on the products of training. `trained` is the layer that
            was trained with the network. `half_whitened` is a rotation of axes that were made more alike;
            `half_whitened_itq`, `itq` and `spreading` are fitted afterwards. `best` is the one that finds most products
            of validation photos.
        device: `auto` is the GPU where there is one.
        target_precision: the operating thresholds reach this precision on the photos that find them.
        target_doubt: the probability that chance alone made the precision look so high. A larger one offers more where
            photos are few.
    """

    name: StableId
    trunk: str = "efficientnet_lite0"
    pretrained: bool = True
    weights: str = ""
    size: Annotated[int, Meta(ge=32, le=512)] = 176
    cache_size: Annotated[int, Meta(ge=32, le=512)] = 192
    seed: int = 0
    threads: Count = 2
    datasets: list[DataSet]
    generic: list[GenericSet] = msgspec.field(default_factory=list)
    heads: list[HeadSpec]
    losses: list[LossSpec] = msgspec.field(default_factory=list)
    metric: Metric = Metric()
    weighting: Weighting = Weighting()
    distillation: Distillation = Distillation()
    augment: Augment = Augment()
    pooling: Literal["gem", "average"] = "gem"
    attention: AttentionKind = "none"
    embedding: Annotated[int, Meta(ge=128, le=2048)] = 400
    hash_layer: HashLayer = "rotation"
    schedule: Schedule
    device: Literal["auto", "cpu", "cuda"] = "auto"
    target_precision: Share = 0.9
    target_doubt: Annotated[float, Meta(gt=0, lt=1)] = 0.05

    def __post_init__(self) -> None:
        if self.hash_layer == "catalyzer":
            log.warning('hash_layer = "catalyzer" is deprecated; write "spreading" instead')
            msgspec.structs.force_setattr(self, "hash_layer", "spreading")
        msgspec.structs.force_setattr(self, "heads", [one for head in self.heads for one in _repeated(head)])
        if found := list(self._mistakes()):
            raise ValueError("\n".join(found))

    @property
    def all_losses(self) -> list[LossSpec]:
        """The losses of the embedding and the hash: those of `[metric]`, then the `[[losses]]` entries."""
        return [*self.metric.losses(), *self.losses]

    @property
    def trains_a_replaced_hash_layer(self) -> bool:
        """Whether losses train a hash layer that the bundle will not have, because `hash_layer` names another one."""
        replaced = self.hash_layer not in ("trained", "best")
        return replaced and any(getattr(loss, "on", "") == "hash" for loss in self.all_losses)

    @property
    def starts_from_frozen_trunk(self) -> bool:
        """Whether the network starts at the packaged weights, and its heads and embedding at the best that can be
        computed from the frozen trunk."""
        return self.trunk in LITE and self.pretrained and not self.weights

    @property
    def frozen_trunk(self) -> str:
        """The trunk that serves as the frozen one: the run's own trunk if it is packaged or stays as it is."""
        return self.trunk if self.trunk in LITE or self.keeps_trunk else "efficientnet_lite0"

    @property
    def needs_frozen_trunk(self) -> bool:
        """Whether the run learns from, or starts at, the features of a trunk that does not change."""
        imitated = any(head.source == "imagenet" for head in self.heads)
        relational = any(isinstance(loss, Relational) for loss in self.all_losses)
        return imitated or relational or self.starts_from_frozen_trunk or self.keeps_trunk

    @property
    def keeps_trunk(self) -> bool:
        """Whether the trunk stays as it is, so that everything behind it learns from features that are kept on disk."""
        return self.schedule.learns != "network"

    @property
    def is_cascaded(self) -> bool:
        """Whether stages of the trunk get embeddings of their own, for a hard-aware cascade."""
        return any(isinstance(loss, HardCascade) for loss in self.all_losses)

    @property
    def judges_all_photos(self) -> bool:
        """Whether training photos calibrate the heads like validation photos. If the trunk did not learn from them, a
        head that was fitted without a photo judges it as it would judge a new one."""
        return self.schedule.learns == "heads"

    @property
    def has_steps(self) -> bool:
        """Whether anything is learnt step by step. Heads on a trunk that stays are fitted at once."""
        return self.schedule.learns != "heads" or bool(self.all_losses)

    def as_tutor(self) -> Recipe:
        """The recipe of its tutor: the same with another trunk."""
        plan = msgspec.structs.replace(self.schedule, steps=self.distillation.steps or self.schedule.steps)
        return msgspec.structs.replace(self, name=f"{self.name}-tutor", trunk=self.distillation.trunk, schedule=plan)

    def _mistakes(self) -> Iterator[str]:
        """What does not fit together, a line for each mistake: `heads[ID].key: what is wrong, and the remedy`."""
        if self.cache_size < self.size:
            yield "cache_size: must be at least size, or training never sees the detail that is served"
        if self.metric.contrastive and self.schedule.views < 2:
            yield "metric.contrastive: needs schedule.views = 2; otherwise set it to 0"
        if self.trunk in LITE and self.weights:
            yield f"weights: {self.trunk!r} has its weights in a package; leave the key out"
        if self.trunk.startswith(OPEN_CLIP) and self.pooling == "gem":
            yield 'pooling: an image tower of open_clip gives one feature; write pooling = "average"'
        yield from self._kept_trunk()
        yield from self._data_sets()
        yield from self._ids()
        yield from self._finer()
        yield from self._losses()

    def _kept_trunk(self) -> Iterator[str]:
        """What a run cannot do whose trunk stays as it is."""
        if not self.keeps_trunk:
            return
        learns = f"schedule.learns = {self.schedule.learns!r}"
        if self.attention != "none":
            yield f'attention: changes the map, but {learns} keeps pooled features; write "none"'
        if self.is_cascaded:
            yield f"losses: a hard_cascade learns from stages of the trunk, but {learns} keeps the last one; remove it"
        if self.distillation.mutual:
            yield f"distillation.mutual: two networks see one photo, but {learns} keeps features; set it to false"
        if any(isinstance(loss, Relational) for loss in self.all_losses):
            yield f"metric.relational: keeps a trunk near what it was, which {learns} does anyway; set it to 0"
        if self.schedule.views > 1:
            yield f"schedule.views: two views need a trunk that computes both, but {learns} keeps features; set it to 1"
        if self.weighting.rule != "fixed":
            yield f"weighting.rule: {learns} fits heads at once, so there is no trend; leave it out"
        if self.trunk not in LITE and any(head.source == "imagenet" for head in self.heads):
            yield f"trunk: heads of source 'imagenet' need a packaged trunk with {learns}; use {', '.join(LITE)}"

    def _data_sets(self) -> Iterator[str]:
        """Every data set that is named exists."""
        names = {d.name for d in self.datasets}
        taken = set(names)
        for one in self.generic:
            if one.name in taken:
                yield f"generic[{one.name}].name: another set of this recipe has this name; give it its own"
            taken.add(one.name)
            for other in one.shows:
                if other not in names:
                    yield f"generic[{one.name}].shows: no data set {other!r} in this recipe"
        for spec in self.datasets:
            if spec.products_of and spec.products_of not in names:
                yield f"datasets[{spec.name}].products_of: no data set {spec.products_of!r} in this recipe"
        for group, members in (("heads", self.heads), ("losses", self.losses)):
            for member in members:
                for unknown in sorted(set(member.datasets) - names):
                    yield f"{group}[{member.id}].datasets: no data set {unknown!r} in this recipe"

    def _ids(self) -> Iterator[str]:
        """No two heads or losses have one id, nor has a loss one that `[metric]` gives."""
        taken: set[str] = set()
        for group, members in (("heads", self.heads), ("losses", self.losses)):
            taken |= {loss.id for loss in self.metric.losses()} if group == "losses" else set()
            for member in members:
                if member.id in taken:
                    yield f"{group}[{member.id}].id: another head or loss has this id; give each its own"
                taken.add(member.id)

    def _finer(self) -> Iterator[str]:
        """Both heads of a pair have one label a photo, and they share their data sets."""
        column = {head.id: head for head in self.heads if (head.kind, head.source) == ("softmax", "column")}
        for head in self.heads:
            other = column.get(head.finer)
            if head.finer and (head.id not in column or other in (None, head) or other.datasets != head.datasets):
                yield (
                    f"heads[{head.id}].finer: {head.finer!r} is no other head of these data sets; both must be "
                    'of kind "softmax" and source "column"'
                )

    def _losses(self) -> Iterator[str]:
        """What a loss or the weighting refers to exists."""
        for loss in self.losses:
            if isinstance(loss, MultiLabelArcFace):
                head = next((h for h in self.heads if h.id == loss.head), None)
                if head is None or head.kind != "multi_label":
                    yield f"losses[{loss.id}].head: {loss.head!r} is no multi-label head of this recipe"
            elif isinstance(loss, HardCascade) and self.trunk not in LITE:
                yield f"losses[{loss.id}].kind: needs the stages of a packaged trunk; use {', '.join(LITE)}"
            elif isinstance(loss, Contrastive):
                if self.schedule.views < 2:
                    yield f"losses[{loss.id}].kind: needs schedule.views = 2; otherwise remove the loss"
            elif not isinstance(loss, Spreading | Relational) and not any(d.product for d in self.datasets):
                yield f"losses[{loss.id}].kind: no data set names a product column to learn from"
        known = {f"head.{head.id}" for head in self.heads}
        for main in self.weighting.main:
            if main not in known:
                yield f"weighting.main: {main!r} is not `head.` and the id of a head"


def _repeated(head: HeadSpec) -> list[HeadSpec]:
    """The heads that `repeat` asks for."""
    if head.repeat == 1:
        return [head]
    return [msgspec.structs.replace(head, id=f"{head.id}-{i:02d}", repeat=1) for i in range(head.repeat)]


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        ConfigError: it cannot be read or is no recipe. The message has a line for each mistake; each names the file,
            the line to change and the key.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe {path}: {error}") from None
    try:
        return msgspec.toml.decode(text, type=Recipe)
    except msgspec.DecodeError as error:
        raise ConfigError(told(path, text, all_mistakes(text, Recipe) or [str(error)])) from None
