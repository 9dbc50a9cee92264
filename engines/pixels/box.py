"""A box: the part of a photo that is looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import Image

MIN_SHARE = 0.01  # of a side: a hundredth of a phone's photo is 40 pixels, and fewer are noise
_ROUNDING = 1e-9  # mirroring may make a box narrower by this


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in the upright photo. Edges are shares of its width and height: 0 is left or top, 1 right or bottom.

    Raises:
        ValueError: an edge is outside the photo, or two edges are closer than MIN_SHARE. The message names them.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        for low, high, names in ((self.left, self.right, "left and right"), (self.top, self.bottom, "top and bottom")):
            if not (math.isfinite(low) and math.isfinite(high) and low >= 0 and high <= 1):
                raise ValueError(f"box: {names} must be within 0 and 1, shares of the photo's side")
            if high - low < MIN_SHARE - _ROUNDING:
                raise ValueError(f"box: {names} must be at least {MIN_SHARE} apart, the smaller one first")

    def lying(self, orientation: int) -> Box:
        """Return the same rectangle in the photo as stored in the file, whose EXIF orientation is 1 to 8."""
        left, top, right, bottom = self.left, self.top, self.right, self.bottom
        if orientation in _MIRRORED_ACROSS:
            left, right = 1 - right, 1 - left
        if orientation in _MIRRORED_DOWN:
            top, bottom = 1 - bottom, 1 - top
        if orientation in _SWAPPED:
            left, top, right, bottom = top, left, bottom, right
        return Box(left, top, right, bottom)


# To undo an orientation, mirror the upright photo across or down, then swap x and y.
_MIRRORED_ACROSS = frozenset({2, 3, 6, 7})
_MIRRORED_DOWN = frozenset({3, 4, 7, 8})
_SWAPPED = frozenset({5, 6, 7, 8})


def region(image: Image.Image, box: Box) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the box in whole pixels, at least one pixel in each direction."""
    left, right = _span(box.left, box.right, image.width)
    top, bottom = _span(box.top, box.bottom, image.height)
    return left, top, right, bottom


def _span(low: float, high: float, length: int) -> tuple[int, int]:
    first = min(length - 1, round(low * length))
    return first, max(first + 1, min(length, round(high * length)))
