"""A detector that finds red rectangles, and photos with such rectangles; the paler one is, the less it is sure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from engines.detection import Detection
from engines.pixels import Box
from schemas.manifest import Preprocess

Edges = tuple[float, float, float, float]
SIDE = 200


def draw(path: Path, rectangles: dict[Edges, float]) -> None:
    """A photo with red rectangles on white; the value is how red one is, from 0 to 1."""
    pixels = np.full((SIDE, SIDE, 3), 255, np.uint8)
    for (left, top, right, bottom), red in rectangles.items():
        rows = slice(round(top * SIDE), round(bottom * SIDE))
        pixels[rows, round(left * SIDE) : round(right * SIDE), 1:] = round(255 * (1 - red))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


class RedDetector:
    """Every connected red area is a product; its score is how red it is. `looked` counts the photos."""

    detector_id = "0123456789ab"
    preprocess = Preprocess(width=SIDE, height=SIDE)
    max_batch = 3

    def __init__(self) -> None:
        self.looked = 0

    def warm_up(self) -> None:
        pass

    def close(self) -> None:
        pass

    def detect(self, photos: np.ndarray) -> list[list[Detection]]:
        assert 1 <= len(photos) <= self.max_batch
        self.looked += len(photos)
        return [self._one(photo) for photo in photos]

    def _one(self, photo: np.ndarray) -> list[Detection]:
        red = 1 - photo[..., 1].astype(float) / 255
        areas, _ = ndimage.label(red > 0.04)
        found = []
        for rows, columns in ndimage.find_objects(areas):
            edges = (columns.start / SIDE, rows.start / SIDE, columns.stop / SIDE, rows.stop / SIDE)
            found.append(Detection(Box(*edges), "product", float(red[rows, columns].mean())))
        return sorted(found, key=lambda one: -one.score)
