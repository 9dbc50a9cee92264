"""Scores boxes: average precision of all of them, and whether the most confident one is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.detection.parity import overlaps
from training.detection.data.boxed_set import Boxes
from training.detection.figures import SetFigures

OVERLAPS = tuple(round(0.5 + 0.05 * place, 2) for place in range(10))
"""The IoU thresholds of COCO's mean average precision."""
_RECALLS = np.linspace(0, 1, 101)
_MOST = 100  # boxes of a photo that count, as in COCO


@dataclass(frozen=True)
class Found:
    """The boxes that a detector finds in one photo, the most confident first: `edges` float [k, 4] in shares, `scores`
    float [k], `kinds` int [k]."""

    edges: NDArray[np.floating]
    scores: NDArray[np.floating]
    kinds: NDArray[np.integer]


def figures_of(found: Sequence[Found], known: Sequence[Boxes]) -> SetFigures:
    """Compare what a detector finds with what is known, photo by photo."""
    curve = [average_precision(found, known, least) for least in OVERLAPS]
    shown = [place for place, boxes in enumerate(known) if len(boxes.edges)]
    right = [best_is_right(found[place], known[place]) for place in shown]
    return SetFigures(
        photos=len(shown),
        boxes=sum(len(boxes.edges) for boxes in known),
        ap50=curve[0],
        ap=float(np.mean(curve)),
        subject=float(np.mean(right)) if right else float("nan"),
        kind=_kinds_right(found, known),
    )


def best_is_right(found: Found, known: Boxes, least: float = 0.5) -> bool:
    """Whether the most confident box has an IoU of at least `least` with any known box."""
    return bool(len(found.edges)) and bool((overlaps(found.edges[:1], known.edges) >= least).any())


def average_precision(found: Sequence[Found], known: Sequence[Boxes], least: float) -> float:
    """Average precision at the IoU `least`, all kinds as one, as COCO computes it (Lin et al. 2014).

    In each photo, from the most confident box on, a box takes the known box with the largest IoU that is not taken yet.
    A box that takes none but lies on an ignored one does not count. The precision is the largest at this or a greater
    recall, and its mean is over 101 recalls.
    """
    scores: list[float] = []
    hits: list[bool] = []
    for one, boxes in zip(found, known, strict=True):
        taken = np.zeros(len(boxes.edges), bool)
        with_known = overlaps(one.edges[:_MOST], boxes.edges)
        with_ignored = _covered(one.edges[:_MOST], boxes.ignored)
        for place, score in enumerate(one.scores[:_MOST]):
            free = np.where(taken, -1.0, with_known[place])
            best = int(free.argmax()) if len(free) else -1
            if best >= 0 and free[best] >= least:
                taken[best] = True
                hits.append(True)
                scores.append(float(score))
            elif not (len(boxes.ignored) and with_ignored[place].max() >= least):
                hits.append(False)
                scores.append(float(score))
    total = sum(len(boxes.edges) for boxes in known)
    if not total:
        return float("nan")
    order = np.argsort(-np.array(scores), kind="stable")
    right = np.array(hits, bool)[order]
    recall = np.cumsum(right) / total
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, _RECALLS, side="left")
    return float(np.mean([envelope[place] if place < len(envelope) else 0.0 for place in places]))


def _covered(boxes: NDArray[np.floating], ignored: NDArray[np.floating]) -> NDArray[np.float64]:
    """The share of each box [k] that lies in each ignored box [j], as COCO does for crowds: [k, j]."""
    one, two = boxes.astype(np.float64)[:, None], ignored.astype(np.float64)[None]
    low, high = np.maximum(one[..., :2], two[..., :2]), np.minimum(one[..., 2:], two[..., 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)
    found: NDArray[np.float64] = shared / np.maximum((one[..., 2:] - one[..., :2]).prod(axis=2), 1e-12)
    return found


def _kinds_right(found: Sequence[Found], known: Sequence[Boxes]) -> float:
    """Of the known boxes with a kind that are found (IoU of at least .5), the share that is given that kind."""
    right = count = 0
    for one, boxes in zip(found, known, strict=True):
        named = boxes.kinds > 0
        alike = overlaps(boxes.edges[named], one.edges)
        for kind, row in zip(boxes.kinds[named], alike, strict=True):
            near = np.flatnonzero(row >= 0.5)
            if len(near):
                count += 1
                right += int(one.kinds[near[0]] == kind)  # the most confident of them
    return right / count if count else float("nan")
