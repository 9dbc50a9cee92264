"""Which photos are set aside, from what they are chosen, and what is refused where they are too few."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import ConfigError
from tests.training.boxes.red_boxes import draw
from training.boxes.project import VALIDATION, Project
from training.boxes.table import Entry, PhotoBoxes, State
from training.boxes.validation import enough_set_aside, set_aside
from training.detection.records import IGNORED

BOX = (0.1, 0.1, 0.5, 0.5)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    for n in range(40):
        draw(tmp_path / "photos" / f"{n:02}.png", {})
    return Project.create(tmp_path / "p", tmp_path / "photos", validation=0.25)


def known(project: Project, count: int, boxes: int = 2, kind: str = "mug", state: State = "given") -> dict:
    entries = (Entry(BOX, kind, "import"),) * boxes
    return {path: PhotoBoxes(state, entries) for path in project.paths[:count]}


def test_they_are_chosen_from_what_people_labelled_and_stay(project: Project) -> None:
    by_people = known(project, 20)
    photos = known(project, 40, state="confident") | by_people
    chosen = enough_set_aside(project, photos)
    assert len(chosen) == 5
    assert chosen <= set(by_people)
    assert set_aside(project, known(project, 40)) == enough_set_aside(project, photos) == chosen
    assert set((project.folder / VALIDATION).read_text().split()) == chosen


@pytest.mark.parametrize(
    ("count", "boxes", "kind"),
    [(0, 2, "mug"), (12, 2, "mug"), (20, 1, "mug"), (20, 2, IGNORED)],
    ids=["nothing", "three photos", "five boxes", "boxes that do not count"],
)
def test_too_few_are_refused_and_more_of_them_are_enough(project: Project, count: int, boxes: int, kind: str) -> None:
    """What was too little is not remembered: the remedy that the message names helps."""
    few = known(project, count, boxes, kind)
    assert set_aside(project, few) == frozenset()
    with pytest.raises(ConfigError, match=rf"labelled {count} photos with .* too few.*groknet boxes review"):
        enough_set_aside(project, few)
    assert len(enough_set_aside(project, known(project, 40))) == 10


def test_photos_that_lost_their_boxes_are_named_with_their_file(project: Project) -> None:
    chosen = enough_set_aside(project, known(project, 20))
    emptied = known(project, 20) | dict.fromkeys(chosen, PhotoBoxes("reviewed", ()))
    with pytest.raises(ConfigError, match=rf"the 5 photos .*{VALIDATION}.*--fresh"):
        enough_set_aside(project, emptied)
    (project.folder / VALIDATION).unlink()
    assert enough_set_aside(project, known(project, 20)) == chosen
