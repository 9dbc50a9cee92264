"""Runs a detector over the photos of a recipe's sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.detector_manifest import BOXES, KINDS, SCORES
from training.detection.data.boxed_set import BoxedSet, Boxes, boxes_of
from training.detection.evaluation.scoring import Found, figures_of
from training.detection.figures import SetFigures

Run = Callable[[NDArray[np.uint8]], Mapping[str, NDArray[np.generic]]]
"""Photos uint8 [n, h, w, 3] → the graph's outputs."""

_BATCH = 8


def found_boxes(outputs: Mapping[str, NDArray[np.generic]]) -> list[Found]:
    """The boxes of each photo of a batch, from the graph's outputs."""
    found = []
    for place, scores in enumerate(outputs[SCORES].astype(np.float64)):
        kept = scores > 0
        edges, kinds = outputs[BOXES][place][kept], outputs[KINDS][place][kept]
        found.append(Found(edges.astype(np.float64), scores[kept], kinds.astype(np.int64)))
    return found


def run_over(run: Run, photos: BoxedSet, numbers: NDArray[np.int64]) -> list[Found]:
    """The boxes that a detector finds in the photos `numbers` [n] of a set."""
    found: list[Found] = []
    for start in range(0, len(numbers), _BATCH):
        found += found_boxes(run(np.asarray(photos.pixels[numbers[start : start + _BATCH]])))
    return found


def parts_of(photos: BoxedSet, split: str) -> dict[str, NDArray[np.int64]]:
    """The photos of a split by the name under which they are reported: a set, or one sort of a set of the studio."""
    sorts = sorted({row.sort for row in photos.rows})
    names = {sort: f"{photos.name}.{sort}" if sort else photos.name for sort in sorts}
    found = {names[sort]: photos.index(split, sort) for sort in sorts}
    return {name: numbers for name, numbers in found.items() if len(numbers)}


def evaluate_detector(
    run: Run, sets: Sequence[BoxedSet], kinds: Sequence[str], split: str = "test", most: int = 0
) -> dict[str, SetFigures]:
    """The figures of every set, by its name. `most` photos of each, spread over the set; 0 takes all."""
    figures = {}
    for one in sets:
        for name, numbers in parts_of(one, split).items():
            chosen = numbers[:: max(1, len(numbers) // most)] if most else numbers
            known: list[Boxes] = [boxes_of(one.rows[number], kinds) for number in chosen]
            figures[name] = figures_of(run_over(run, one, chosen), known)
    return figures
