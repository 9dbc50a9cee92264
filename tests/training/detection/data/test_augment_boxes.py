"""Augmented photos: every box follows its pixels."""

from __future__ import annotations

import numpy as np
import pytest

from training.detection.data.augment_boxes import Window, augmented, compose
from training.detection.data.boxed_set import Boxes
from training.detection.recipe import BoxAugment

SIDE = 96


def square(seed: int) -> tuple[np.ndarray, Boxes]:
    """A dark photo with one white square, and its box of kind `seed`."""
    rng = np.random.default_rng(seed)
    pixels = np.full((SIDE, SIDE, 3), 20, np.uint8)
    x, y = rng.integers(5, 50, 2)
    side = int(rng.integers(20, 40))
    pixels[y : y + side, x : x + side] = 255
    edges = np.array([[x, y, x + side, y + side]], np.float32) / SIDE
    return pixels, Boxes(edges, np.array([seed]), np.zeros((0, 4), np.float32))


def white_box(pixels: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(pixels.min(axis=2) > 160)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / pixels.shape[0]


@pytest.mark.parametrize("seed", range(12))
def test_the_box_is_where_the_square_went(seed: int) -> None:
    spec = BoxAugment(mosaic=0.0, least=0.7, light=0.0)
    ((pixels, boxes),) = augmented([square(seed)], spec, SIDE, np.random.default_rng(seed))
    edges = np.concatenate([boxes.edges, boxes.ignored])
    assert pixels.shape == (SIDE, SIDE, 3)
    assert len(edges) == 1
    assert np.allclose(edges[0], white_box(pixels), atol=2.5 / SIDE)


def test_four_photos_become_one_with_the_boxes_of_all() -> None:
    photos = [square(seed) for seed in range(4)]
    spec = BoxAugment(mosaic=1.0, least=1.0, light=0.0, flip=0.0)
    made = augmented(photos, spec, 2 * SIDE, np.random.default_rng(0))
    for pixels, boxes in made:
        assert len(boxes.edges) == 4
        for left, top, right, bottom in (boxes.edges * 2 * SIDE).round().astype(int):
            assert pixels[top + 3 : bottom - 3, left + 3 : right - 3].min() > 200


def test_a_box_that_is_mostly_cut_off_is_ignored_and_one_outside_is_gone() -> None:
    edges = np.array([[0.0, 0.0, 0.4, 0.4], [0.3, 0.3, 0.7, 0.7], [0.6, 0.6, 1.0, 1.0]], np.float32)
    photo = (np.zeros((SIDE, SIDE, 3), np.uint8), Boxes(edges, np.arange(3), np.zeros((0, 4), np.float32)))
    _, boxes = compose([(photo, Window((0.0, 0.0, 0.45, 0.45), (0, 0, SIDE, SIDE), False))], SIDE)
    assert boxes.kinds.tolist() == [0]
    assert np.allclose(boxes.edges, [[0, 0, 0.4 / 0.45, 0.4 / 0.45]])
    assert np.allclose(boxes.ignored, [[0.3 / 0.45, 0.3 / 0.45, 1, 1]])


def test_the_same_generator_gives_the_same_photos() -> None:
    photos = [square(seed) for seed in range(4)]
    first, second = (augmented(photos, BoxAugment(), SIDE, np.random.default_rng(9)) for _ in range(2))
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(first, second, strict=True))
    other = augmented(photos, BoxAugment(), SIDE, np.random.default_rng(10))
    assert any(not np.array_equal(a[0], b[0]) for a, b in zip(first, other, strict=True))
