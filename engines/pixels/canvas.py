"""A decoded photo that several parts are cut from, so that one decode serves a detector and all its boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from engines.pixels._fit import fit
from engines.pixels.box import Box, region
from schemas.manifest import Preprocess

MOST_PIXELS = 1_000_000
"""The most pixels of a canvas: 3 MB, because dozens of them wait in the queues of a worker."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """An upright photo in sRGB, of at most MOST_PIXELS pixels or the side that was asked for. Safe for several
    threads."""

    image: Image.Image

    @classmethod
    def of(cls, image: Image.Image, side: int) -> Canvas:
        """Make a canvas of an upright RGB photo. A larger photo is reduced by a whole number, as long as both sides
        stay at least `side` pixels or the canvas would have too many pixels."""
        width, height = image.size
        factor = max(1, min(width // side, height // side))
        while width * height > MOST_PIXELS * factor * factor:
            factor += 1
        return cls(image.reduce(factor) if factor > 1 else image)

    def cut(self, box: Box | None, preprocess: Preprocess) -> np.ndarray:
        """The part inside `box`, or the whole, resized: uint8 [height, width, 3]. Edges are rounded to whole pixels, as
        `decode` does it."""
        part = self.image if box is None else self.image.crop(region(self.image, box))
        return fit(part, preprocess)
