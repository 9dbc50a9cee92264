"""One round of labelling: a detector looks at every photo, thresholds are chosen, and doubtful photos are queued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from engines.files import write_file
from schemas.errors import ConfigError
from training.boxes.asking import ask_doubtful
from training.boxes.finder import BoxFinder
from training.boxes.labels import Guess, Label, Progress, label, read_labels
from training.boxes.project import Known, Project
from training.boxes.table import PhotoBoxes, all_photos, by_people, write_table
from training.boxes.thresholds import Targets, Thresholds, choose
from training.boxes.validation import enough_set_aside
from training.detection.records import PRODUCT
from training.review import Queue

TABLE, _ROUND = "boxes.csv", "round.json"


class Round(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the newest round decided by. Attributes: the detector's id, what the thresholds had to reach, and the
    thresholds."""

    detector_id: str
    targets: Targets
    thresholds: Thresholds


class Standing(NamedTuple):
    """Where a project stands: the newest round, if there was one, what its detector found, and what is known of every
    photo."""

    newest: Round | None
    labels: dict[str, Label]
    photos: dict[str, PhotoBoxes]


def standing(project: Project, queue: Queue) -> Standing:
    """Read where the project stands.

    Raises:
        ConfigError: a file of the project is damaged.
    """
    file = project.folder / _ROUND
    if not file.exists():
        return Standing(None, {}, all_photos(project, queue, {}, None))
    try:
        newest = msgspec.json.decode(file.read_bytes(), type=Round)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"project: {file}: {error}; remove it, and run `groknet boxes label` again") from None
    labels = _of_project(read_labels(project.labels_file(newest.detector_id)), project.classes())
    return Standing(newest, labels, all_photos(project, queue, labels, newest.thresholds, newest.detector_id))


def run_round(
    project: Project,
    queue: Queue,
    finder: BoxFinder,
    targets: Targets,
    *,
    most: int,
    progress: Progress | None = None,
) -> tuple[Round, int]:
    """Label every photo that nobody has labelled, choose the thresholds, queue the doubtful photos, write the table.

    A round that was stopped goes on where it was, because the detector's answers are kept photo by photo.

    Args:
        project: to label.
        queue: of the project, open for writing.
        finder: the detector, in this process or on workers.
        targets: of the thresholds.
        most: photos to queue.
        progress: called with the photos done and the photos in all.

    Returns:
        The round, and how many photos are queued now.

    Raises:
        ConfigError: too few photos with boxes to choose thresholds by.
    """
    known = by_people(project, queue)
    set_aside = enough_set_aside(project, known)
    judges = {path: known[path] for path in set_aside if path in known and known[path].complete}
    paths = [path for path in project.paths if path not in known or path in judges]
    found = label(finder.find, project.photos, paths, project.labels_file(finder.detector_id), progress)
    labels = _of_project(found, project.classes())
    thresholds = choose(labels, {path: _known(path, photo) for path, photo in judges.items()}, targets)
    newest = Round(detector_id=finder.detector_id, targets=targets, thresholds=thresholds)
    photos = all_photos(project, queue, labels, thresholds, finder.detector_id)
    asked = ask_doubtful(queue, photos, labels, thresholds=thresholds, detector_id=finder.detector_id, most=most)
    write_file(project.folder / _ROUND, msgspec.json.format(msgspec.json.encode(newest)) + b"\n")
    write_table(project.folder / TABLE, photos, set_aside)
    return newest, asked


def refresh_table(project: Project, queue: Queue) -> Path:
    """Write the table anew from what is known now, and return its path."""
    out = project.folder / TABLE
    write_table(out, standing(project, queue).photos, project.validation())
    return out


def _of_project(labels: Mapping[str, Label], classes: Sequence[str]) -> dict[str, Label]:
    """The labels in the project's own classes: a kind that the project does not have becomes `product`."""
    known = set(classes)

    def own(guess: Guess) -> Guess:
        return guess if guess.kind in known else Guess(guess.box, PRODUCT, guess.score)

    return {
        path: Label(path=path, guesses=tuple(map(own, one.guesses)), error=one.error) for path, one in labels.items()
    }


def _known(path: str, photo: PhotoBoxes) -> Known:
    return Known(
        path=path, boxes=tuple(one.box for one in photo.entries), kinds=tuple(one.kind for one in photo.entries)
    )
