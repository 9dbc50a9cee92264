"""Which frames of a clip are searched with."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from workers.search.find.frames import USED, best_frames, sharpness


def test_sharpness_falls_with_every_blur() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((96, 96), Image.Resampling.NEAREST)
    values = [sharpness(np.asarray(image.filter(ImageFilter.GaussianBlur(radius)))) for radius in (0, 1, 2, 4)]
    assert values == sorted(values, reverse=True)
    assert values[3] < values[0] / 50
    assert sharpness(np.full((20, 20, 3), 77, np.uint8)) == pytest.approx(0, abs=1e-6)


def test_sharpness_is_the_variance_of_the_laplacian_by_hand() -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    luma = [[0.299 * r + 0.587 * g + 0.114 * b for r, g, b in row] for row in pixels.tolist()]
    values = [
        luma[y - 1][x] + luma[y + 1][x] + luma[y][x - 1] + luma[y][x + 1] - 4 * luma[y][x]
        for y in range(1, 4)
        for x in range(1, 3)
    ]
    mean = sum(values) / len(values)
    assert sharpness(pixels) == pytest.approx(sum((v - mean) ** 2 for v in values) / len(values), rel=1e-4)


def code(*flipped: int) -> str:
    """A hash with these bits set."""
    return f"{sum(1 << bit for bit in flipped):064x}"


def test_blurred_frames_and_frames_of_something_else_are_left_out() -> None:
    alike = [code(), code(1), code(1, 2, 3)]
    other = f"{(1 << 256) - 1:064x}"
    assert best_frames([10, 9, 8, 9], [*alike, other]) == [1, 0, 2]
    assert best_frames([10, 4.9, 8, 9], [*alike, other]) == [0, 2]  # the second frame is blurred
    assert best_frames([1, 1, 1, 1], [other, *alike]) == [2, 1, 3]


def test_there_are_never_more_than_used_and_always_one() -> None:
    assert len(best_frames([1.0] * 8, [code()] * 8)) == USED
    assert best_frames([0.0], [code()]) == [0]
    assert best_frames([0.0, 0.0], [code(), f"{(1 << 256) - 1:064x}"]) == [0]
    assert best_frames([1.0, 2.0], [code(), code()]) == [1, 0]  # the sharper one of two that agree
