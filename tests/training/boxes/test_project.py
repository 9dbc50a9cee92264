"""A project's folder: what is refused, what stays fixed, and photos that lie elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.pixels import Box
from schemas.errors import ConfigError
from tests.training.boxes.red_boxes import draw
from training.boxes.project import Project
from training.detection.records import IGNORED, BoxedPhoto


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for n in range(40):
        draw(tmp_path / "photos" / f"{n:02}.png", {})
    return tmp_path / "photos"


def test_what_is_no_project_is_refused_with_the_remedy(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="groknet boxes init"):
        Project.open(tmp_path)
    with pytest.raises(ConfigError, match="no folder"):
        Project.create(tmp_path / "p", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="has no photo"):
        Project.create(tmp_path / "p", tmp_path / "empty")
    with pytest.raises(ConfigError, match="validation"):
        Project.create(tmp_path / "p", root, validation=1.5)
    assert not (tmp_path / "p").exists()
    Project.create(tmp_path / "p", root)
    with pytest.raises(ConfigError, match="has a project already"):
        Project.create(tmp_path / "p", root)
    root.rename(tmp_path / "moved")
    with pytest.raises(ConfigError, match="correct it in"):
        Project.open(tmp_path / "p")


def test_the_photos_that_are_set_aside_are_chosen_once(root: Path, tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p", root, validation=0.25)
    boxes = dict.fromkeys(project.paths, 2)
    few = {path: boxes[path] for path in project.paths[:12]}
    assert project.validation(few) == frozenset()  # three photos would judge nothing
    chosen = project.validation({path: boxes[path] for path in project.paths[:20]})
    assert len(chosen) == 5
    assert chosen <= set(project.paths[:20])
    assert project.validation(boxes) == Project.open(tmp_path / "p").validation() == chosen


def test_boxes_that_are_given_again_replace_the_earlier_ones(root: Path, tmp_path: Path) -> None:
    project = Project.create(tmp_path / "p", root, classes=["vase"])
    first = BoxedPhoto(root / "00.png", (Box(0, 0, 1, 1), Box(0, 0, 0.5, 1)), ("mug", IGNORED))
    second = BoxedPhoto(root / "01.png", (), ())
    project.give([first, second], "a.json")
    project.give([BoxedPhoto(root / "00.png", (Box(0, 0, 0.5, 0.5),), ("cup",))], "b.json")
    given = Project.open(tmp_path / "p").given()
    assert given["00.png"].boxes == ((0, 0, 0.5, 0.5),)
    assert (given["00.png"].origin, given["01.png"].origin) == ("b.json", "a.json")
    assert project.classes() == ["vase", "cup"]


def test_a_link_out_of_the_folder_is_no_photo_of_the_project(root: Path, tmp_path: Path) -> None:
    draw(tmp_path / "elsewhere" / "x.png", {})
    (root / "inside.png").symlink_to(root / "00.png")
    (root / "outside.png").symlink_to(tmp_path / "elsewhere" / "x.png")
    (root / "folder").symlink_to(tmp_path / "elsewhere")
    paths = Project.create(tmp_path / "p", root).paths
    assert "inside.png" in paths
    assert not {"outside.png", "folder/x.png"} & set(paths)
