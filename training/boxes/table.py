"""Everything that is known about a project's photos, with the provenance of every box.

A person's word counts before a detector's, and of two words the later one. The sources of a box:

| source | meaning |
|---|---|
| `hand` | A person drew it on the review page. |
| `corrected` | A person changed a detector's or an imported box; `was` has the box and its kind before. |
| `confirmed` | A detector found it, and a person left it as it was. |
| `import` | It came from a file; `origin` names it. |
| `detector` | A detector was sure of it; nobody looked. |
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import msgspec

from engines.files import replacing
from training.boxes.labels import Label
from training.boxes.project import Known, Project
from training.boxes.thresholds import Thresholds
from training.review import Decision, Queue
from training.review.values import Boxes, DecidedBox

Source = Literal["hand", "corrected", "confirmed", "import", "detector"]
State = Literal["given", "reviewed", "confident", "doubtful", "unreadable", "skipped", "new"]
RIGHT, SKIP = "right", "skip"
SAME = 1e-6  # of a side: what the way through JSON and a browser changes

COLUMNS = ("path", "left", "top", "right", "bottom", "kind", "source", "score", "detector", "was", "origin", "split")


class Entry(NamedTuple):
    """One box of the table; `box` is left, top, right, bottom in shares of the upright photo."""

    box: tuple[float, float, float, float]
    kind: str
    source: Source
    score: float | None = None
    detector: str = ""
    was: str = ""
    origin: str = ""


class PhotoBoxes(NamedTuple):
    """A photo with what is known of it. `entries` are all its boxes if its state is given, reviewed or confident;
    otherwise they are those that a detector was sure of."""

    state: State
    entries: tuple[Entry, ...]

    @property
    def complete(self) -> bool:
        """Whether all boxes of the photo are known, so that the rest of it shows no product."""
        return self.state in ("given", "reviewed", "confident")


def all_photos(
    project: Project, queue: Queue, labels: Mapping[str, Label], thresholds: Thresholds | None, detector_id: str = ""
) -> dict[str, PhotoBoxes]:
    """Path → what is known, for every photo of the project, in order of name.

    Args:
        project: with its imported boxes.
        queue: with the decisions of people.
        labels: what the current detector found; empty if none has looked.
        thresholds: of that detector; None means that none of its boxes is kept.
        detector_id: of that detector.
    """
    people = by_people(project, queue)
    return {path: people.get(path) or _by_detector(labels.get(path), thresholds, detector_id) for path in project.paths}


def by_people(project: Project, queue: Queue) -> dict[str, PhotoBoxes]:
    """Path → what people said: decisions that are no drafts, and imported boxes."""
    known = {path: PhotoBoxes("given", tuple(_given(one))) for path, one in project.given().items()}
    for decision in queue.decisions():
        if decision.choice == SKIP:
            known[decision.item] = PhotoBoxes("skipped", ())
        elif decision.choice == RIGHT:
            known[decision.item] = PhotoBoxes("reviewed", tuple(_decided(decision)))
    return known


def _given(known: Known) -> Iterator[Entry]:
    for box, kind in zip(known.boxes, known.kinds, strict=True):
        yield Entry(box, kind, "import", origin=known.origin)


def _decided(decision: Decision) -> Iterator[Entry]:
    for one in msgspec.convert(decision.value, Boxes, strict=False).boxes:
        if one.was is None:
            yield Entry(one.box, one.kind, "hand")
            continue
        detector = one.was.source if one.was.score is not None else ""
        if not is_changed(one):
            yield Entry(one.box, one.kind, "confirmed" if detector else "import", one.was.score, detector)
        else:
            was = " ".join(f"{edge:.4f}" for edge in one.was.box) + f" {one.was.kind}"
            yield Entry(one.box, one.kind, "corrected", one.was.score, detector, was)


def is_changed(one: DecidedBox) -> bool:
    """Whether a person changed a proposed box or its kind, or drew the box."""
    if one.was is None or one.was.kind != one.kind:
        return True
    return any(abs(a - b) > SAME for a, b in zip(one.box, one.was.box, strict=True))


def _by_detector(label: Label | None, thresholds: Thresholds | None, detector_id: str) -> PhotoBoxes:
    if label is None or thresholds is None:
        return PhotoBoxes("new", ())
    if label.error:
        return PhotoBoxes("unreadable", ())
    sure = [one for one in label.guesses if one.score >= thresholds.keep]
    doubtful = any(thresholds.drop <= one.score < thresholds.keep for one in label.guesses)
    entries = tuple(Entry(one.box, one.kind, "detector", one.score, detector_id) for one in sure)
    return PhotoBoxes("doubtful" if doubtful or not sure else "confident", entries)


def write_table(out: Path, photos: Mapping[str, PhotoBoxes], validation: frozenset[str]) -> int:
    """Replace the table of all boxes that are known for sure, and return how many it has.

    A photo without a product has one row without edges. Photos with doubtful boxes are left out. `split` is `val` for
    the photos that are set aside, else `train`.
    """
    rows = 0
    with replacing(out) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for path, photo in photos.items():
            if not photo.complete:
                continue
            split = "val" if path in validation else "train"
            for one in photo.entries:
                edges = [f"{edge:.6f}" for edge in one.box]
                score = "" if one.score is None else f"{one.score:.4f}"
                writer.writerow([path, *edges, one.kind, one.source, score, one.detector, one.was, one.origin, split])
            if not photo.entries:
                source = "hand" if photo.state == "reviewed" else "import"
                writer.writerow([path, "", "", "", "", "", source, "", "", "", "", split])
            rows += len(photo.entries)
    return rows


def sources(photos: Mapping[str, PhotoBoxes]) -> Sequence[Source]:
    """The source of every box that is known for sure."""
    return [one.source for photo in photos.values() if photo.complete for one in photo.entries]


def counted_states(photos: Mapping[str, PhotoBoxes]) -> dict[str, int]:
    """How many photos are in each state."""
    return {state: n for state in get_args(State) if (n := sum(one.state == state for one in photos.values()))}
