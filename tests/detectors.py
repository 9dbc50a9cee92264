"""A detector whose boxes everybody can predict: it finds bright squares of a grid. For tests of what uses detectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engines.detection.combine import combine, read_plan
from schemas.detector_manifest import DetectorManifest
from schemas.manifest import Training
from training.detection.bundle.export import write_detector_bundle
from training.detection.networks.interface import Dense, DetectorNetwork
from training.detection.recipe import BoxSet, DetectorRecipe, DetectorSchedule, NmsSpec

SIDE, CELLS = 64, 4
LEAST = 0.5
KINDS = ["product", "red"]


class BrightCells(DetectorNetwork):
    """The photo is a grid of `cells` x `cells` cells. A cell whose mean brightness, from 0 to 1, is at least .5 is a
    product with this score and exactly the cell as its box. One that is red, not grey, is of the kind `red`."""

    def __init__(self, cells: int = CELLS) -> None:
        super().__init__()
        self._cells = cells

    def dense(self, photos: Tensor) -> Dense:
        count = self._cells
        means = F.avg_pool2d(photos / 255.0, SIDE // count)
        scores = means.amax(1).flatten(1)
        red = (means[:, :1] - means[:, 1:2]).flatten(2).transpose(1, 2).clamp(0, 1)
        x, y = torch.arange(count).repeat(count), torch.arange(count).repeat_interleave(count)
        cells = torch.stack((x, y, x + 1, y + 1), 1).float() / count
        return Dense(cells[None] + 0.0 * scores[..., None], scores, red)


def recipe(most: int = 16) -> DetectorRecipe:
    return DetectorRecipe(
        name="bright-cells",
        side=SIDE,
        datasets=[BoxSet(name="none", share=1)],
        schedule=DetectorSchedule(steps=1),
        nms=NmsSpec(score=LEAST, overlap=0.5, most=most),
    )


def bright_detector(folder: Path, cells: int = CELLS) -> DetectorManifest:
    """Write the detector's bundle into `folder`, for a grid of so many cells each way."""
    facts = Training(recipe="bright-cells", command="tests")
    return write_detector_bundle(BrightCells(cells), recipe(), KINDS, folder, facts, photos=scenes())


def with_bright_detector(bundle: Path, folder: Path) -> Path:
    """The bundle together with this detector, at most four boxes a photo, as a new bundle within `folder`."""
    finder, joined = folder / "finder", folder / "detecting"
    bright_detector(finder)
    joined.mkdir()
    combine(bundle, finder, read_plan(finder, mode="all", padding=0.05, threshold=0.6, most_boxes=4), joined)
    return joined


def scenes() -> np.ndarray:
    """Photos with 0, 1, 5 and 16 bright cells, uint8 [4, 64, 64, 3]."""
    photos = np.zeros((4, SIDE, SIDE, 3), np.uint8)
    for photo, count in zip(photos, (0, 1, 5, CELLS * CELLS), strict=True):
        for number in range(count):
            light(photo, number, 255 - 8 * number)
    return photos


def light(photo: np.ndarray, cell: int, value: int, red: bool = False, cells: int = CELLS) -> None:
    """Make one cell bright. `photo` may have any size that the grid divides."""
    high, wide = photo.shape[0] // cells, photo.shape[1] // cells
    row, column = divmod(cell, cells)
    photo[row * high : (row + 1) * high, column * wide : (column + 1) * wide] = (value, 0, 0) if red else value
