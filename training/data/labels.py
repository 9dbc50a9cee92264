"""From rows to targets: which labels every head has, and which of them every photo has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.errors import ConfigError
from training.data.label_values import labels_of, values_of
from training.data.photos import PhotoSet
from training.readers.cautions import LEARNT
from training.readers.label_table import Row
from training.recipe import DataSet, HeadSpec, Recipe

Groups = Mapping[str, tuple[str, Tensor]]
"""For every head whose labels are groups of another head's labels: that other, finer head's id, and which share of each
of its labels belongs to each label of this head, `float32 [finer labels, labels]`, rows that sum to 1."""


@dataclass(frozen=True)
class Targets:
    """A head's labels, and which of them every photo of the run has. Photos are numbered as in the corpus.

    Attributes:
        values: the labels, in the order of the head's outputs.
        targets: softmax: `int64 [n]`, −1 where the photo has no label of the head; multi_label: `bool [n, labels]`.
    """

    spec: HeadSpec
    values: list[str]
    targets: NDArray[np.int64] | NDArray[np.bool_]


@cache
def imagenet_names() -> list[str]:
    """The 1,000 ImageNet class names in the packaged classifier's order."""
    text = resources.files("training.data").joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    return text.splitlines()


def build_labels(recipe: Recipe, sets: list[PhotoSet]) -> list[Targets]:
    """Targets of every head. Its labels are those with at least `min_photos` training photos, in alphabetical order.

    Raises:
        ConfigError: a head has fewer than two labels.
    """
    return [_targets(head, sets) for head in recipe.heads]


def _targets(head: HeadSpec, sets: list[PhotoSet]) -> Targets:
    total = sum(len(s.rows) for s in sets)
    if head.source == "imagenet":
        return Targets(head, imagenet_names(), np.full(total, -1, np.int64))
    rows = [(r if s.spec.name in head.datasets else None) for s in sets for r in s.rows]
    found = [labels_of(head, r) for r in rows]
    learnt = (labels for row, labels in zip(rows, found, strict=True) if row is not None and row["split"] in LEARNT)
    counts = Counter(label for labels in learnt for label in labels)
    values = values_of(head, counts)
    place = {v: i for i, v in enumerate(values)}
    if head.kind == "softmax":
        single = [next((place[v] for v in labels if v in place), -1) for labels in found]
        return Targets(head, values, np.array(single, np.int64))
    many = np.zeros((total, len(values)), np.bool_)
    for i, labels in enumerate(found):
        many[i, [place[v] for v in labels if v in place]] = True
    return Targets(head, values, many)


def groups_of(heads: Sequence[Targets], learnt: NDArray[np.int64]) -> Groups:
    """The groups of every head that names a `finer` one, counted over the training photos `learnt int64 [n]`: head →
    the finer head's id, and the share of each of its labels' photos in each label, `float32 [finer labels, labels]`.

    Raises:
        ConfigError: no training photo with some finer label has a label of the head.
    """
    by_id = {target.spec.id: target for target in heads}
    groups: dict[str, tuple[str, Tensor]] = {}
    for target in heads:
        if not target.spec.finer:
            continue
        finer = by_id[target.spec.finer]
        fine, coarse = finer.targets[learnt], target.targets[learnt]
        both = (fine >= 0) & (coarse >= 0)
        counts = np.zeros((len(finer.values), len(target.values)))
        np.add.at(counts, (fine[both], coarse[both]), 1)
        total = counts.sum(1, keepdims=True)
        if not total.all():
            alone = finer.values[int(np.flatnonzero(total == 0)[0])]
            raise ConfigError(
                f"heads[{target.spec.id}].finer: no training photo of {finer.spec.id}'s {alone!r} has a label of it; "
                "lower its min_photos, or leave `finer` out"
            )
        groups[target.spec.id] = finer.spec.id, torch.from_numpy((counts / total).astype(np.float32))
    return groups


def product_ids(sets: list[PhotoSet]) -> NDArray[np.int64]:
    """`int64 [n]` over all photos: the number of the photo's product among those of the run's training photos, −1 for
    none."""
    keys = [_identity(s.spec, r) for s in sets for r in s.rows]
    place = {k: i for i, k in enumerate(sorted(set(keys) - {""}))}
    return np.array([place.get(k, -1) for k in keys], np.int64)


def _identity(spec: DataSet, row: Row) -> str:
    product = row.get(spec.product, "") if spec.product and row["split"] in ("train", "gallery") else ""
    return product and f"{spec.products_of or spec.name}/{product}"
