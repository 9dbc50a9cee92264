"""From which score on a detector's boxes can be kept, and below which they can be forgotten.

All are chosen on photos whose boxes are known and that the detector never learned from:

- `keep`: the lowest score from which on the share of right boxes reaches a target.
- `drop`: the highest score below which at most a given share of the found products lies.
- `show`: the score from which on a person sees the boxes of a doubtful photo. It leaves the fewest boxes to delete or
  to draw.

A box is right if it overlaps a known box of its kind by IoU 0.5 or more, and no more confident box has taken that one
(the rule of COCO's evaluation: cocodataset.org/#detection-eval). Boxes of the kind `ignored` are neither right nor
wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from training.boxes.labels import Guess, Label
from training.boxes.project import FEWEST, Known
from training.detection.records import IGNORED, PRODUCT

OVERLAP = 0.5
NOTHING = 1.01  # a threshold that no score reaches

Floats = NDArray[np.float64]


class Targets(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the thresholds must reach. Attributes: `precision` of the boxes that are kept, and `lost`, the largest share
    of the found products that may be among the forgotten boxes."""

    precision: float = 0.95
    lost: float = 0.02


class Thresholds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The thresholds, and what they were chosen by.

    Attributes:
        keep: boxes from this score on count as right; 1.01 if no score reaches the target.
        drop: boxes below this score are forgotten. Those between are doubtful.
        show: boxes from this score on are proposed to a person.
        photos: validation photos that judged.
        boxes: known boxes in them.
        kept: validation boxes from `keep` on.
        right: how many of these are right.
        found: how many known boxes the boxes from `drop` on find.
    """

    keep: float
    drop: float
    show: float
    photos: int
    boxes: int
    kept: int
    right: int
    found: int


def choose(labels: Mapping[str, Label], known: Mapping[str, Known], targets: Targets) -> Thresholds:
    """The thresholds for a detector.

    Args:
        labels: what it found in the validation photos.
        known: the boxes of these photos.
        targets: what to reach.
    """
    both = [path for path in known if path in labels and not labels[path].error]
    judged = [judge(labels[path].guesses, known[path]) for path in both]
    scores = np.array([score for one in judged for score, _ in one], np.float64)
    right = np.array([correct for one in judged for _, correct in one], bool)
    order = np.argsort(-scores, kind="stable")
    scores, right = scores[order], right[order]
    keep = _keep(scores, right, targets.precision)
    drop = min(keep, _drop(scores[right], targets.lost))
    kept = scores >= keep
    return Thresholds(
        keep=keep,
        drop=drop,
        show=min(keep, _show(scores, right)),
        photos=len(both),
        boxes=sum(kind != IGNORED for path in both for kind in known[path].kinds),
        kept=int(kept.sum()),
        right=int(right[kept].sum()),
        found=int((scores[right] >= drop).sum()),
    )


def _keep(scores: Floats, right: NDArray[np.bool_], precision: float) -> float:
    """`scores` fall. The place is the last at which the target holds, where no equal score follows."""
    shares = np.cumsum(right) / np.arange(1, len(right) + 1)
    ends = np.append(scores[1:] != scores[:-1], True) if len(scores) else np.zeros(0, bool)
    good = np.flatnonzero((shares >= precision) & ends & (np.arange(1, len(right) + 1) >= FEWEST))
    return float(scores[good[-1]]) if len(good) else NOTHING


def _drop(found: Floats, lost: float) -> float:
    """`found` are the scores of right boxes, falling. At most the share `lost` of them is below the result."""
    if not len(found):
        return 0.0
    return float(found[len(found) - 1 - int(lost * len(found))])


def _show(scores: Floats, right: NDArray[np.bool_]) -> float:
    """`scores` fall. Shown boxes that are wrong must be deleted, right ones that are not shown must be drawn."""
    if not right.any():
        return NOTHING
    deleted = np.cumsum(~right)
    drawn = right.sum() - np.cumsum(right)
    ends = np.append(scores[1:] != scores[:-1], True)
    effort = np.where(ends, deleted + drawn, np.iinfo(np.int64).max)
    return float(scores[int(effort.argmin())])


def judge(guesses: Sequence[Guess], known: Known) -> list[tuple[float, bool]]:
    """(score, right) of each guess that counts, the most confident first."""
    free = [i for i, kind in enumerate(known.kinds) if kind != IGNORED]
    ignored = [known.boxes[i] for i, kind in enumerate(known.kinds) if kind == IGNORED]
    judged = []
    for guess in sorted(guesses, key=lambda one: -one.score):
        same = [i for i in free if guess.kind in (PRODUCT, known.kinds[i])]
        best = max(same, key=lambda i: overlap(guess.box, known.boxes[i]), default=None)
        if best is not None and overlap(guess.box, known.boxes[best]) >= OVERLAP:
            free.remove(best)
            judged.append((guess.score, True))
        elif all(overlap(guess.box, box) < OVERLAP for box in ignored):
            judged.append((guess.score, False))
    return judged


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes as left, top, right, bottom; 0 to 1."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return both / (areas - both)
