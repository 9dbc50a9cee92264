"""A project from its first boxes to its table, with an exact detector and decisions as a person would make them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from engines.pixels import Box
from schemas.errors import ConfigError
from tests.training.boxes.red_boxes import RedDetector, draw
from training.boxes.asking import ask_again, ask_first
from training.boxes.finder import in_this_process
from training.boxes.lessons import batch_shares, lessons
from training.boxes.project import Project
from training.boxes.rounds import TABLE, refresh_table, run_round, standing
from training.boxes.saved import PUBLISHED_S, saved
from training.boxes.thresholds import Targets
from training.detection.records import IGNORED, BoxedPhoto

CLEAR, PALE, AIR = (0.1, 0.1, 0.5, 0.5), (0.6, 0.6, 0.9, 0.9), (0.6, 0.1, 0.9, 0.4)


def folder_of_photos(root: Path) -> None:
    """Photos a have one clear product; photos b have a pale one as well; photos c show nothing; photos d have a pale
    spot besides, which is no product."""
    for n in range(40):
        draw(root / "a" / f"{n}.png", {CLEAR: 0.9})
    for n in range(30):  # more pale products than pale spots, so that showing both saves work
        draw(root / "b" / f"{n}.png", {CLEAR: 0.9, PALE: 0.4})
    for n in range(10):
        draw(root / "d" / f"{n}.png", {CLEAR: 0.9, AIR: 0.42})
    draw(root / "c" / "0.png", {})
    (root / "c" / "broken.png").write_bytes(b"no")


def truth(path: str) -> tuple[tuple[float, ...], ...]:
    return {"a": (CLEAR,), "b": (CLEAR, PALE), "c": (), "d": (CLEAR,)}[path[0]]


def given(root: Path, path: str) -> BoxedPhoto:
    boxes = tuple(Box(*box) for box in truth(path))
    return BoxedPhoto(root / path, boxes, ("product",) * len(boxes))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "photos"
    folder_of_photos(root)
    made = Project.create(tmp_path / "project", root)
    made.give([given(root, path) for path in made.paths if path[0] != "c" and path.endswith("5.png")], "first.json")
    return made


def table(project: Project) -> list[dict[str, str]]:
    with (project.folder / TABLE).open(newline="") as file:
        return list(csv.DictReader(file))


def decide(project: Project, path: str, boxes: list[dict], seconds: float = 4.0, choice: str = "right") -> None:
    with project.queue() as queue:
        queue.decide(path, choice, {"boxes": boxes}, seconds=seconds)


def test_sure_boxes_are_kept_doubtful_photos_are_asked_and_the_table_says_where_boxes_come_from(
    project: Project,
) -> None:
    assert len(project.given()) == 8
    even = [path for path in project.paths if path[0] != "c" and path[-5] in "02468"]
    project.give([given(project.photos, path) for path in even], "second.json")
    detector = RedDetector()
    with project.queue() as queue:
        newest, asked = run_round(
            project, queue, in_this_process(detector), Targets(precision=0.95, lost=0.0), most=100
        )
        items = {item.id: item for item in queue.items}
    limits = newest.thresholds
    assert (limits.keep, limits.right, limits.kept) == (pytest.approx(0.9, abs=0.01), limits.photos, limits.photos)
    assert limits.drop == pytest.approx(0.4, abs=0.01)
    people = set(project.given())
    assert set(items) == {p for p in project.paths if p[0] in "bd" and p not in people} | {"c/0.png"}
    assert asked == len(items)
    assert [round(one["score"], 2) for one in items["b/1.png"].proposal["boxes"]] == [0.9, 0.4]
    looked = detector.looked
    with project.queue() as queue:  # all answers are kept: nothing is computed again
        run_round(project, queue, in_this_process(detector), Targets(precision=0.95, lost=0.0), most=3)
        assert len(queue.items) == 3
    assert detector.looked == looked
    rows = table(project)
    by_photo = {row["path"]: row for row in rows}
    assert by_photo["a/1.png"]["source"] == "detector"
    assert by_photo["a/1.png"]["detector"] == "0123456789ab"
    assert float(by_photo["a/1.png"]["score"]) == pytest.approx(0.9, abs=0.01)
    assert by_photo["a/2.png"]["source"] == "import"
    assert not {"b/1.png", "c/0.png", "c/broken.png"} & set(by_photo)
    assert {row["path"] for row in rows if row["split"] == "val"} == project.validation()


def test_a_person_corrects_and_each_box_says_how(project: Project) -> None:
    project.give([given(project.photos, path) for path in project.paths if path[0] != "c" and path[-5] in "02468"], "x")
    with project.queue() as queue:
        run_round(project, queue, in_this_process(RedDetector()), Targets(precision=0.95, lost=0.0), most=100)
        clear, pale = queue.item("b/1.png").proposal["boxes"]
    moved = [0.6, 0.6, 0.95, 0.95]
    boxes = [
        {"box": clear["box"], "kind": "product", "was": clear},
        {"box": moved, "kind": "product", "was": pale},
        {"box": [0.0, 0.0, 0.05, 0.05], "kind": "lid", "was": None},
    ]
    decide(project, "b/1.png", boxes)
    decide(project, "c/0.png", [])
    decide(project, "b/3.png", [], choice="skip")
    decide(project, "b/7.png", boxes, choice="draft")
    with project.queue() as queue:
        now = standing(project, queue)
        refresh_table(project, queue)
        counted = saved(now.photos, queue)
    entries = now.photos["b/1.png"].entries
    assert [one.source for one in entries] == ["confirmed", "corrected", "hand"]
    assert entries[1].was == "0.6000 0.6000 0.9000 0.9000 product"
    assert [now.photos[f"b/{n}.png"].state for n in (1, 3, 7)] == ["reviewed", "skipped", "doubtful"]
    rows = [row for row in table(project) if row["path"] in ("b/1.png", "c/0.png")]
    assert [(row["source"], row["left"]) for row in rows] == [
        ("confirmed", "0.100000"),
        ("corrected", "0.600000"),
        ("hand", "0.000000"),
        ("hand", ""),
    ]
    sure = sum(photo.state == "confident" for photo in now.photos.values())
    assert counted[:3] == (sure, 1, 2)
    assert (counted.seconds_a_box, counted.spent_s, counted.measured) == (PUBLISHED_S, 16.0, False)
    assert counted.saved_s == pytest.approx(7.0 * (sure + 3) - 16.0)

    learned = lessons(project, now, project.validation())
    by_path = {photo.path.relative_to(project.photos).as_posix(): photo for photo in learned.hand + learned.kept}
    assert not project.validation() & set(by_path)
    assert by_path["b/1.png"].kinds == ("product", "product", "lid")
    assert by_path["c/0.png"].boxes == ()
    assert by_path["b/7.png"].kinds == ("product", IGNORED)  # the pale box is doubtful, the clear one was kept
    assert not {"b/3.png", "c/broken.png"} & set(by_path)
    assert all(
        path in project.given() or path in ("b/1.png", "c/0.png")
        for path in by_path
        if path not in {one.path.relative_to(project.photos).as_posix() for one in learned.kept}
    )


def test_a_photo_that_was_skipped_judges_nothing(project: Project) -> None:
    """The person did not say that it shows no product, so what a detector finds there is not wrong."""
    project.give([given(project.photos, path) for path in project.paths if path[0] != "c" and path[-5] in "02468"], "x")
    with project.queue() as queue:
        ask_again(queue, project.given().values())
        before, _ = run_round(project, queue, in_this_process(RedDetector()), Targets(), most=9)
        ask_again(queue, project.given().values())
        skipped = next(path for path in sorted(project.validation()) if path[0] == "a")
        queue.decide(skipped, "skip")
        after, _ = run_round(project, queue, in_this_process(RedDetector()), Targets(), most=9)
    one = before.thresholds
    assert (after.thresholds.photos, after.thresholds.boxes) == (one.photos - 1, one.boxes - 1)
    assert after.thresholds.keep == one.keep


def test_a_project_without_boxes_asks_for_the_first_and_measures_its_own_pace(tmp_path: Path) -> None:
    folder_of_photos(tmp_path / "photos")
    project = Project.create(tmp_path / "project", tmp_path / "photos", classes=["mug"])
    with project.queue() as queue:
        assert ask_first(project, queue, 40) == 40
        asked = [item.id for item in queue.items]
        with pytest.raises(ConfigError, match="too few"):
            run_round(project, queue, in_this_process(RedDetector()), Targets(), most=9)
        for path in asked:
            boxes = [{"box": list(box), "kind": "mug", "was": None} for box in truth(path)]
            queue.decide(path, "draft", {"boxes": boxes}, seconds=2.0)
            queue.decide(path, "right", {"boxes": boxes}, seconds=1.0)
        _, again = run_round(project, queue, in_this_process(RedDetector()), Targets(), most=9)
        assert again <= 9
        assert len(project.validation()) == 10
        assert project.validation() <= set(asked)
        drawn = sum(len(truth(path)) for path in asked)
        with_boxes = sum(bool(truth(path)) for path in asked)
        pace = saved(standing(project, queue).photos, queue)
    assert pace.measured
    assert pace.seconds_a_box == pytest.approx(3.0 * with_boxes / drawn)


def test_imported_boxes_can_be_checked(project: Project) -> None:
    with project.queue() as queue:
        assert ask_again(queue, project.given().values()) == 8
        (box,) = queue.item("a/5.png").proposal["boxes"]
        assert box == {"box": list(CLEAR), "kind": "product", "source": "import"}
        queue.decide("a/5.png", "right", {"boxes": [{"box": box["box"], "kind": "product", "was": box}]})
        assert standing(project, queue).photos["a/5.png"].entries[0].source == "import"


def test_a_batch_is_at_least_half_of_people() -> None:
    assert batch_shares(10, 0, 16) == {"hand": 16, "kept": 0}
    assert batch_shares(10, 1000, 16) == {"hand": 8, "kept": 8}
    assert batch_shares(900, 100, 10) == {"hand": 9, "kept": 1}
    assert batch_shares(1000, 1, 4) == {"hand": 3, "kept": 1}
