"""What of a query's photo is looked at."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest

from engines.pixels import Box, decode
from schemas.boxes import DetectPlan
from schemas.errors import Invalid
from schemas.manifest import Preprocess
from tests.engines.colour_detector import ColourDetector, grid, scene
from workers.search.find.looking import QueryPhotos
from workers.stages.detect import Looking

INPUT = Preprocess(width=64, height=64)
PLAN = DetectPlan(mode="subject", detector_id="c0104de7ec70", padding=0.1, threshold=0.5, most_boxes=1)
PHOTO = scene(grid(5))


def photos(most: int = 16) -> QueryPhotos:
    return QueryPhotos(INPUT, Looking(ColourDetector(), PLAN, INPUT), most)


def test_subject_is_the_first_of_all_and_all_boxes_are_told() -> None:
    subject, every = photos().view(PHOTO, None, "subject"), photos().view(PHOTO, None, "all")
    assert [len(view.found) for view in (subject, every)] == [5, 5]
    assert (len(subject.parts), len(every.parts)) == (1, 5)
    assert subject.parts[0].found == every.parts[0].found == subject.found[0]
    scores = [part.found.score for part in every.parts]
    assert scores == sorted(scores, reverse=True)


def test_each_part_is_the_photo_cut_at_its_box() -> None:
    for part in photos().view(PHOTO, None, "all").parts:
        again = decode(PHOTO, INPUT, box=Box(*astuple(part.box)))
        assert np.abs(part.pixels.astype(int) - again).mean() < 4  # the canvas has a third of the photo's sides


def test_the_number_of_boxes_is_limited() -> None:
    assert len(photos(3).view(scene(grid(50)), None, "all").parts) == 3


def test_without_a_product_or_with_a_box_nothing_is_detected() -> None:
    empty = photos().view(scene([]), None, "all")
    assert [(part.box, part.found) for part in empty.parts] == [(None, None)]
    assert empty.found == []
    box = Box(0.1, 0.1, 0.6, 0.8)
    given = photos().view(PHOTO, box, "off")
    assert (given.parts[0].box, list(given.found)) == (box, [])
    assert np.array_equal(given.parts[0].pixels, decode(PHOTO, INPUT, box=box))
    whole = QueryPhotos(INPUT, None, 16).view(PHOTO, None, "off")
    assert np.array_equal(whole.parts[0].pixels, decode(PHOTO, INPUT))


def test_a_photo_on_which_the_detector_fails_is_refused_if_the_detector_is_sound() -> None:
    class Broken(ColourDetector):
        def warm_up(self) -> None:
            raise RuntimeError("the device is gone")

    photo = scene(grid(2), blue_corner=True)
    with pytest.raises(Invalid, match="detect=off") as refused:
        photos().view(photo, None, "all")
    assert refused.value.error == "detector_failed"
    with pytest.raises(RuntimeError, match="the device is gone"):
        QueryPhotos(INPUT, Looking(Broken(), PLAN, INPUT), 16).view(photo, None, "all")
    assert len(photos().view(photo, None, "off").parts) == 1
