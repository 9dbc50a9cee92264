"""A recipe of a detector: what to train and on which boxes, as one short typed TOML file, like a recogniser's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.errors import ConfigError
from schemas.manifest import StableId, Strict
from schemas.units import Count, NotNegative, Positive, Share, ShareBelowOne, Whole
from training.detection.records import PRODUCT
from training.recipe.line_numbers import line_of

Kind = Literal["small", "retinanet_r50", "faster_rcnn_r50", "fcos_r50", "single_stage"]


class BoxSet(Strict, frozen=True, kw_only=True):
    """One set of photos with boxes.

    Attributes:
        name: of the set in this recipe.
        reader: `table` for a CSV file with one row for each box, `studio` for rendered photos.
        folder: below the data folder that the command gets.
        boxes: the table of boxes, in `folder`. Its columns are described in `data/box_table.py`.
        splits: a table with `path` and `split`, where the table of boxes has no splits.
        validation: the share of the training photos that is set aside.
        test: the share of the training photos that becomes test, where the set has no test photos.
        kind: the kind of every box; empty takes the table's labels.
        keep: labels that are products; empty means all of them. Other labels are background.
        ignore: labels whose boxes teach nothing (`records.IGNORED`).
        share: photos of this set in every batch of one process.
        scenes: studio: training photos of several products.
        singles: studio: training photos of one product, with other things around it.
        held_out: studio: photos of each sort in val, and twice as many in test.
        others: studio: what the other products in a photo of one product teach. `ignored`: nothing. `background`: that
            the photo is not about them, so that the one that it is about gets the highest score.
        about: one sentence on source and licence, for the card.
    """

    name: StableId
    reader: Literal["table", "studio"] = "table"
    folder: str = ""
    boxes: str = "boxes.csv"
    splits: str = ""
    validation: ShareBelowOne = 0.06
    test: ShareBelowOne = 0.0
    kind: str = ""
    keep: list[str] = msgspec.field(default_factory=list)
    ignore: list[str] = msgspec.field(default_factory=list)
    share: Count
    scenes: Whole = 0
    singles: Whole = 0
    held_out: Whole = 0
    others: Literal["ignored", "background"] = "ignored"
    about: str = ""


class NetworkSpec(Strict, frozen=True, kw_only=True):
    """The network.

    Attributes:
        kind: see `networks/build.py`.
        pretrained: start the small network's trunk at its packaged weights.
        weights: a file of weights to start at (`torch.save` of a state dict), relative to the recipe.
        channels: of the small network's pyramid and head.
        depth: convolutions in each tower of the small network's head.
        frozen: blocks of the small network's trunk that are not trained, counted from the photo. The first blocks see
            the most pixels, so each one that is frozen saves much of a step.
    """

    kind: Kind = "small"
    pretrained: bool = True
    weights: str = ""
    channels: Annotated[int, Meta(ge=8, le=512)] = 64
    depth: Annotated[int, Meta(ge=1, le=8)] = 2
    frozen: Annotated[int, Meta(ge=0, le=11)] = 5


class DetectorSchedule(Strict, frozen=True, kw_only=True):
    """How long a run is and how fast it learns: a linear warm-up, then a cosine to zero.

    Attributes:
        steps: optimiser steps; each takes one batch.
        minutes: a bound on the time of all steps; 0 means none. The cosine ends when steps or minutes are used up.
        warmup: steps of the warm-up.
        trunk_rate: learning rate of the trunk.
        head_rate: learning rate of everything else.
        small_side: photos have this many pixels a side during the first `small_share` of the run.
        average: decay of the running mean of the weights, which is what is exported; 0 exports the last weights.
        record_every: steps between two records of the losses.
    """

    steps: Count
    minutes: NotNegative = 0.0
    warmup: Whole = 50
    trunk_rate: Positive = 2e-4
    head_rate: Positive = 1e-3
    weight_decay: NotNegative = 1e-4
    small_side: Count = 256
    small_share: Share = 0.0
    average: ShareBelowOne = 0.99
    record_every: Count = 10


class BoxAugment(Strict, frozen=True, kw_only=True):
    """How much a training photo may differ from the photo.

    Attributes:
        mosaic: the probability that four photos of the batch become one.
        flip: the probability of a mirrored photo.
        least: the smallest part of a side that a crop keeps.
        wide: the largest factor by which a photo is made smaller, with grey around it.
        light: the largest relative change of contrast, brightness and each colour.
    """

    mosaic: Share = 0.3
    flip: Share = 0.5
    least: Annotated[float, Meta(gt=0, le=1)] = 0.6
    wide: Annotated[float, Meta(ge=1, le=4)] = 1.6
    light: ShareBelowOne = 0.25


class NmsSpec(Strict, frozen=True, kw_only=True):
    """Non-maximum suppression in the graph.

    Attributes:
        score: boxes below this score are dropped.
        overlap: of two boxes with a larger IoU, only the more confident one stays.
        most: boxes of one photo.
    """

    score: Share = 0.05
    overlap: Share = 0.5
    most: Annotated[int, Meta(ge=1, le=1000)] = 100


class DetectorRecipe(Strict, frozen=True, kw_only=True):
    """A whole run.

    Attributes:
        side: pixels a side of the network's input. Photos are squashed to a square.
        threads: of torch, on the processor, for each process.
        device: `auto` is the GPU where there is one.
        kinds: the kinds that the detector tells apart; empty takes those of the training boxes. `product`, the kind of
            any product, is always the first one.
        least_kind: a kind needs as many training boxes; boxes of rarer kinds are of the kind `product`.
    """

    name: StableId
    side: Annotated[int, Meta(ge=64, le=1024)] = 320
    seed: int = 0
    threads: Count = 2
    device: Literal["auto", "cpu", "cuda"] = "auto"
    kinds: list[str] = msgspec.field(default_factory=list)
    least_kind: Count = 20
    network: NetworkSpec = NetworkSpec()
    datasets: Annotated[list[BoxSet], Meta(min_length=1)]
    schedule: DetectorSchedule
    augment: BoxAugment = BoxAugment()
    nms: NmsSpec = NmsSpec()

    def __post_init__(self) -> None:
        names = [one.name for one in self.datasets]
        if len(set(names)) != len(names):
            raise ValueError("datasets: two sets share one name; give each its own")
        if self.side % 32 or self.schedule.small_side % 32:
            raise ValueError("side, schedule.small_side: must be multiples of 32, the stride of the trunk")
        for one in self.datasets:
            if one.reader == "studio" and not (one.scenes or one.singles):
                raise ValueError(f"datasets[{one.name}].scenes: draw at least one photo, by scenes or singles")

    @property
    def batch(self) -> int:
        """Photos in a batch: the shares of all sets."""
        return sum(one.share for one in self.datasets)

    def with_product(self, kinds: list[str]) -> list[str]:
        """The kinds in the order of the graph: `product`, then the others by name."""
        return [PRODUCT, *sorted(set(kinds) - {PRODUCT})]


def load_detector_recipe(path: Path) -> DetectorRecipe:
    """Read a recipe.

    Raises:
        ConfigError: it cannot be read or is no recipe; the message names the file, the line to change and the key.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe {path}: {error}") from None
    try:
        return msgspec.toml.decode(text, type=DetectorRecipe)
    except msgspec.DecodeError as error:
        line = line_of(text, str(error))
        raise ConfigError(f"recipe {path}{f', line {line}' if line else ''}: {error}") from None
