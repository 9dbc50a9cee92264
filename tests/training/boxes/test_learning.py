"""Which run a training continues or begins, and which photos it is kept away from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from engines.pixels import Box
from schemas.errors import ConfigError
from tests.training.boxes.red_boxes import draw
from tests.training.detection.tiny import tiny_recipe
from training.boxes.learning import learn, with_steps
from training.boxes.project import Project
from training.boxes.rounds import standing
from training.detection.records import BoxedPhoto

pytestmark = pytest.mark.slow  # each training exports and checks a bundle

EDGES = ((0.1, 0.1, 0.5, 0.5), (0.6, 0.6, 0.9, 0.9))
GIVEN = 20
MARKER = {"step": -1.0, "loss": 0.0}
RECIPE = tiny_recipe(steps=2)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    for n in range(GIVEN):
        draw(tmp_path / "photos" / f"{n:02}.png", dict.fromkeys(EDGES, 0.9))
    made = Project.create(tmp_path / "project", tmp_path / "photos")
    give(made, GIVEN)
    return made


def give(project: Project, count: int, kind: str = "product") -> None:
    boxes = tuple(Box(*edges) for edges in EDGES)
    project.give([BoxedPhoto(project.photos / path, boxes, (kind,) * 2) for path in project.paths[:count]], "x.json")


def trained(project: Project, recipe=RECIPE, **options: Any) -> str:
    """The number of the detector."""
    now = standing(project, project.queue(read_only=True))
    return learn(project, now, recipe, **options).name


def checkpoint(project: Project, number: str) -> dict[str, Any]:
    saved: dict[str, Any] = torch.load(project.folder / "runs" / number / "checkpoint.pt", weights_only=True)
    return saved


def stop(project: Project, number: str) -> None:
    """Leave the run as a kill after its first step leaves it. Its history shows whether it goes on."""
    saved = checkpoint(project, number) | {"step": 1, "history": [MARKER]}
    torch.save(saved, project.folder / "runs" / number / "checkpoint.pt")
    shutil.rmtree(project.folder / "detectors" / number)


def goes_on(project: Project, number: str) -> bool:
    return MARKER in checkpoint(project, number)["history"]


def test_photos_are_set_aside_before_the_first_training(project: Project) -> None:
    assert project.validation() == frozenset()
    assert trained(project) == "01"
    chosen = project.validation()
    assert len(chosen) == GIVEN // 4
    assert checkpoint(project, "01")["photos"] == {"hand": GIVEN - len(chosen)}
    give(project, GIVEN, kind="mug")
    assert project.validation(dict.fromkeys(project.paths, 2)) == chosen


def test_a_project_with_too_few_photos_to_set_aside_is_not_trained(project: Project) -> None:
    (project.folder / "given.ndjson").unlink()
    give(project, 12)
    with pytest.raises(ConfigError, match=r"^validation: .*12 photos.* too few"):
        trained(project)
    assert not (project.folder / "runs").exists()


def test_a_stopped_run_goes_on_unless_something_else_is_asked(project: Project) -> None:
    assert trained(project) == "01"
    stop(project, "01")
    assert trained(project) == "01"
    assert goes_on(project, "01")
    assert checkpoint(project, "01")["step"] == 2

    stop(project, "01")
    assert trained(project, fresh=True) == "02"
    assert not goes_on(project, "02")

    stop(project, "02")
    assert trained(project, with_steps(RECIPE, 1)) == "03"
    assert not goes_on(project, "03")

    stop(project, "03")
    give(project, 1, kind="mug")  # another class: the stopped network has no place for it
    assert trained(project) == "04"
    assert checkpoint(project, "04")["kinds"] == ["product", "mug"]


def test_a_number_is_never_used_twice(project: Project) -> None:
    assert trained(project) == "01"
    detectors = project.folder / "detectors"
    shutil.rmtree(detectors / "01")  # its run is finished: it would give the same detector again
    assert trained(project) == "02"
    (detectors / "03.part").mkdir()  # what a killed export leaves
    assert [path.name for path in project.detectors()] == ["02"]
    assert trained(project) == "03"
    shutil.rmtree(project.folder / "runs" / "03")
    assert trained(project) == "04"
    (detectors / "99").mkdir()
    (detectors / "100").mkdir()
    assert [path.name for path in project.detectors()][-2:] == ["99", "100"]
