"""What a person is asked: the first photos of a project without boxes, later the photos that a detector doubts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from training.boxes.labels import Guess, Label
from training.boxes.project import Known, Project
from training.boxes.table import RIGHT, SKIP, PhotoBoxes
from training.boxes.thresholds import Thresholds
from training.readers.splits import chance
from training.review import Item, Queue

CHOICES = (RIGHT, SKIP)
NOTHING_FOUND = 0.25  # urgency of a photo in which nothing was found: below one box that is truly in doubt


def ask_first(project: Project, queue: Queue, most: int) -> int:
    """Queue `most` photos that a person draws boxes on, chosen by their names. Returns how many are asked now."""
    paths = sorted((path for path in project.paths if path not in project.given()), key=chance)[:most]
    return queue.put_open(_item(path, "Draw a box around each product.", {}, 0.0) for path in paths)


def ask_doubtful(
    queue: Queue,
    photos: Mapping[str, PhotoBoxes],
    labels: Mapping[str, Label],
    *,
    thresholds: Thresholds,
    detector_id: str,
    most: int,
) -> int:
    """Queue at most `most` doubtful photos, the most doubtful first, and return how many are asked now. Photos that a
    person has decided or begun stay in the queue as they were.

    The doubt about a box is greatest halfway between the two thresholds, and 0 at both. A photo's urgency is the sum
    over its boxes.
    """
    items = []
    for path, photo in photos.items():
        if photo.state != "doubtful":
            continue
        guesses = labels[path].guesses
        shown = [one for one in guesses if one.score >= thresholds.show]
        doubt = sum(_doubt(one, thresholds) for one in guesses) or NOTHING_FOUND
        question = "Is every product in a box, and every box right?" if shown else "Nothing was found. What is here?"
        items.append(_item(path, question, proposal(shown, detector_id), round(doubt, 4)))
    items.sort(key=lambda item: -item.urgency)
    return queue.put_open(items[:most])


def ask_again(queue: Queue, known: Iterable[Known]) -> int:
    """Queue photos whose boxes were imported, so that a person can check them. Returns how many are asked now."""
    items = []
    for one in known:
        boxes = [
            {"box": list(box), "kind": kind, "source": "import"} for box, kind in zip(one.boxes, one.kinds, strict=True)
        ]
        items.append(_item(one.path, "Is every product in a box, and every box right?", {"boxes": boxes}, 0.0))
    return queue.put_open(items)


def proposal(guesses: Iterable[Guess], detector_id: str) -> dict[str, object]:
    """The proposal of an item, as `review/values.py` describes it."""
    return {"boxes": [{"box": list(g.box), "kind": g.kind, "score": g.score, "source": detector_id} for g in guesses]}


def _doubt(guess: Guess, thresholds: Thresholds) -> float:
    span = thresholds.keep - thresholds.drop
    if span <= 0 or not thresholds.drop <= guess.score < thresholds.keep:
        return 0.0
    return 1.0 - abs(2.0 * (guess.score - thresholds.drop) / span - 1.0)


def _item(path: str, question: str, proposed: dict[str, object], urgency: float) -> Item:
    return Item(
        id=path,
        kind="boxes",
        photos=(path,),
        question=question,
        choices=CHOICES,
        proposal=proposed,
        urgency=urgency,
    )
