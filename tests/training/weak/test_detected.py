"""Boxes of unlabelled photos by a detector that computes on their pixels."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engines.colour_detector import SIDE, ColourDetector, grid, scene
from training.weak import detect_boxes

SIZE = (640, 480)


def test_every_photo_gets_its_boxes_and_a_bad_one_stops_nobody(tmp_path: Path) -> None:
    counts = {"a.png": 1, "b/c.png": 5, "none.png": 0, "many.png": 9}
    for path, count in counts.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(scene(grid(count, SIZE), SIZE))
    (tmp_path / "bad.png").write_bytes(b"no photo")
    told: list[tuple[int, int]] = []
    detector = ColourDetector(max_batch=2)
    paths = [*counts, "bad.png", "gone.png"]
    settings = {"padding": 0.0, "threshold": 0.5, "most_boxes": 6}
    boxes = detect_boxes(detector, tmp_path, paths, **settings, progress=lambda *done: told.append(done))
    assert {path: len(found) for path, found in boxes.items()} == {"a.png": 1, "b/c.png": 5, "many.png": 6}
    assert told == [(2, 6), (4, 6), (6, 6)]
    ((_, place),) = grid(1, SIZE)
    box = boxes["a.png"][0]
    sides = [edge / side for edge, side in zip(place, (*SIZE, *SIZE), strict=True)]
    assert [box.left, box.top, box.right, box.bottom] == pytest.approx(sides, abs=2 / SIDE)


def test_the_threshold_decides_what_is_a_box(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(scene(grid(5, SIZE), SIZE))
    found = detect_boxes(ColourDetector(), tmp_path, ["a.png"], padding=0, threshold=0.99, most_boxes=6)
    assert found == {}
