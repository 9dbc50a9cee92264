"""Likeness of edges: copies that were changed, cut, framed or turned, and pictures that only share their colours."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from tests.training.cleaning.pictures import picture
from training.cleaning.copies.alignment import SIDE, count_of_warps, likeness, likeness_under, warps

CHANGES = {
    "brightness": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.6),
    "cut": lambda image: image.crop((10, 8, 182, 152)),
    "border": lambda image: ImageOps.expand(image, (12, 10), (255, 255, 255)),
    "turned": lambda image: image.rotate(4, Image.Resampling.BICUBIC, fillcolor=(128, 128, 128)),
}


def small(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_is_alike_in_both_directions(name: str) -> None:
    originals = [picture(i, (192, 160)) for i in range(12)]
    one, other = (np.stack([small(change(i)) for i in originals]) for change in (lambda i: i, CHANGES[name]))
    assert likeness(one, other).min() > 0.8
    assert likeness(one, other) == pytest.approx(likeness(other, one))
    assert likeness(one, np.roll(other, 1, axis=0)).max() < 0.6


def test_likeness_without_a_warp_is_the_correlation_of_the_gradients() -> None:
    rng = np.random.default_rng(3)
    one, other = rng.integers(0, 256, (2, 1, SIDE, SIDE), dtype=np.uint8)

    def gradients(grey: np.ndarray) -> np.ndarray:
        across, down = np.gradient(grey.astype(float))[::-1]
        return np.stack([across[1:-1, 1:-1], down[1:-1, 1:-1]]).ravel()

    a, b = gradients(one[0]), gradients(other[0])
    naive = a @ b / np.sqrt((a @ a) * (b @ b))
    assert likeness_under(one, other, np.zeros(1, np.int64)) == pytest.approx([naive], abs=1e-4)


def test_the_first_warp_changes_nothing() -> None:
    one = np.random.default_rng(4).integers(0, 256, (3, SIDE, SIDE), dtype=np.uint8)
    warped = warps(one)
    assert warped.shape == (3, count_of_warps(), SIDE, SIDE)
    assert np.array_equal(warped[:, 0], one)


def test_plain_pictures_are_compared_by_their_grey() -> None:
    grey = np.full((3, SIDE, SIDE), 100, np.uint8)
    assert likeness(grey, grey + np.array([0, 2, 60], np.uint8)[:, None, None]) == pytest.approx([1, 0.9, -1])
