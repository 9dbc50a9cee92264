"""What the next detector of a project learns from: what people said, and what the last detector was sure of."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

from training.boxes.project import Project, boxed
from training.boxes.rounds import Standing
from training.detection.records import IGNORED, BoxedPhoto

HAND, KEPT = "hand", "kept"
LEAST_HAND = 0.5  # of every batch, so that a detector's own mistakes never outvote people


class Lessons(NamedTuple):
    """What is learned from. Attributes: `hand` are photos whose boxes people gave, `kept` those with boxes that the
    last detector was sure of."""

    hand: list[BoxedPhoto]
    kept: list[BoxedPhoto]


def lessons(project: Project, now: Standing, set_aside: Container[str]) -> Lessons:
    """The training photos of a project; the photos that are set aside are left out.

    A photo with sure and doubtful boxes is learned from, too: its doubtful boxes are ignored, so that they count
    neither as products nor as background. A photo with doubtful boxes alone is left out.
    """
    hand: list[BoxedPhoto] = []
    kept: list[BoxedPhoto] = []
    for path, photo in now.photos.items():
        if path in set_aside:
            continue
        boxes = [(one.box, one.kind) for one in photo.entries]
        if photo.state in ("given", "reviewed"):
            hand.append(_photo(project, path, boxes))
        elif photo.state in ("confident", "doubtful") and boxes:
            kept.append(_photo(project, path, [*boxes, *_doubtful(now, path)]))
    return Lessons(hand, kept)


def _doubtful(now: Standing, path: str) -> Iterator[tuple[tuple[float, float, float, float], str]]:
    assert now.newest is not None
    limits = now.newest.thresholds
    for one in now.labels[path].guesses:
        if limits.drop <= one.score < limits.keep:
            yield one.box, IGNORED


def _photo(project: Project, path: str, boxes: Sequence[tuple[tuple[float, float, float, float], str]]) -> BoxedPhoto:
    return boxed(project.photos, path, (box for box, _ in boxes), (kind for _, kind in boxes))


def batch_shares(hand: int, kept: int, batch: int) -> dict[str, int]:
    """How many photos of each sort a batch has, for the numbers of photos that there are."""
    if not kept or batch < 2:
        return {HAND: batch, KEPT: 0}
    share = max(LEAST_HAND, hand / (hand + kept))
    count = min(batch - 1, max(1, round(share * batch)))
    return {HAND: count, KEPT: batch - count}
