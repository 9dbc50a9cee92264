"""Recipes: what to train, as one short typed TOML file; unknown keys and impossible values are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.errors import ConfigError
from schemas.manifest import StableId, Strict

Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
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
    held_out: Count = 60  # studio: products of each of val and test, 3 photos and one iconic picture each


class HeadSpec(Strict, frozen=True, kw_only=True):
    """One head. `source` `column`: labels of `datasets`' column with at least `min_images` training photos, in a
    multi-label head several of them with `|` between; `queries`: words of titles; `imagenet`: the packaged
    classifier's classes, distilled from it."""

    id: StableId
    column: str
    datasets: list[str] = msgspec.field(default_factory=list)
    kind: Literal["softmax", "multi_label"] = "softmax"
    source: Literal["column", "queries", "imagenet"] = "column"
    min_images: Count = 1
    weight: Positive = 1.0


class Metric(Strict, frozen=True, kw_only=True):
    """The losses of the embedding and, times `hash`, of the softened hash."""

    arcface: float = 1.0
    scale: Positive = 32.0
    margin: float = 0.25
    contrastive: float = 0.5
    temperature: Positive = 0.1
    memory: Count = 2048
    relational: float = 1.0
    hash: float = 0.5


class Schedule(Strict, frozen=True, kw_only=True):
    """AdamW, linear warm-up, cosine to zero; `small_share` of the steps run at `small_size` pixels first."""

    steps: Count
    warmup: Annotated[int, Meta(ge=0)] = 50
    trunk_rate: Positive = 2e-4
    head_rate: Positive = 1e-3
    weight_decay: float = 1e-2
    small_size: Count = 144
    minutes: float = 0.0  # 0: no bound; otherwise the cosine ends when either steps or minutes are through
    small_share: Annotated[float, Meta(ge=0, le=1)] = 0.0
    smoothing: Annotated[float, Meta(ge=0, lt=1)] = 0.0  # of the softmax heads' targets
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0  # of the feature that the heads see
    average: Annotated[float, Meta(ge=0, lt=1)] = 0.0  # decay of the weights' running mean, which is what is exported


class Recipe(Strict, frozen=True, kw_only=True):
    """A whole run."""

    name: StableId
    trunk: str = "efficientnet_lite0"
    pretrained: bool = True
    size: Annotated[int, Meta(ge=32, le=512)] = 176
    cache_size: Annotated[int, Meta(ge=32, le=512)] = 192
    seed: int = 0
    threads: Count = 2
    datasets: list[DataSet]
    heads: list[HeadSpec]
    metric: Metric = Metric()
    schedule: Schedule
    target_precision: Annotated[float, Meta(ge=0, le=1)] = 0.9

    def __post_init__(self) -> None:
        names = {d.name for d in self.datasets}
        for spec in self.datasets:
            if spec.products_of and spec.products_of not in names:
                raise ValueError(f"datasets[{spec.name}].products_of: no data set {spec.products_of!r} in this recipe")
        for head in self.heads:
            unknown = set(head.datasets) - names
            if unknown:
                raise ValueError(f"heads[{head.id}].datasets: no data set {sorted(unknown)[0]!r} in this recipe")
        if self.cache_size < self.size:
            raise ValueError("cache_size: must be at least size, or training never sees the detail it serves")


def load_recipe(path: Path) -> Recipe:
    """Read a recipe; raises ConfigError naming the file and the key."""
    try:
        return msgspec.toml.decode(Path(path).read_bytes(), type=Recipe)
    except (msgspec.DecodeError, OSError) as error:
        raise ConfigError(f"recipe {path}: {error}") from None
