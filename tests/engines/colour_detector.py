"""A detector that computes on pixels what it says: it finds the rectangles of two colours, red mugs and green
chairs."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engines.detection import Detection
from engines.pixels import Box
from schemas.manifest import Preprocess

SIDE = 160
COLOURS = {"mug": (230, 20, 30), "chair": (20, 210, 40)}  # sRGB
_FAR = 70  # of 255 in any channel
_LEAST = 12  # pixels of the input; fewer are seams


class ColourDetector:
    """Every connected area of a colour is one product. The larger it is, the more confident. An input whose first pixel
    is blue makes it fail, as a damaged input could a real one."""

    def __init__(self, max_batch: int = 4) -> None:
        self.max_batch = max_batch
        self.warm_ups = 0
        self.batches: list[int] = []
        """The size of each batch so far."""

    @property
    def detector_id(self) -> str:
        return "c0104de7ec70"

    @property
    def preprocess(self) -> Preprocess:
        return Preprocess(mode="squash", width=SIDE, height=SIDE)

    def warm_up(self) -> None:
        self.warm_ups += 1

    def detect(self, photos: NDArray[np.uint8]) -> list[list[Detection]]:
        if photos.dtype != np.uint8 or not 1 <= len(photos) <= self.max_batch or photos.shape[1:] != (SIDE, SIDE, 3):
            raise ValueError(f"photos: {photos.dtype} {photos.shape}")
        self.batches.append(len(photos))
        if (photos[:, 0, 0].astype(int) @ (-1, -1, 1) > 200).any():
            raise RuntimeError("a blue corner")
        return [_found(photo) for photo in photos]

    def close(self) -> None:
        pass


def _found(photo: NDArray[np.uint8]) -> list[Detection]:
    found = []
    for kind, colour in COLOURS.items():
        mask = np.abs(photo.astype(int) - colour).max(axis=2) <= _FAR
        for rows, columns in _areas(mask):
            edges = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            if len(rows) >= _LEAST and min(edges[2] - edges[0], edges[3] - edges[1]) >= 2:
                box = Box(*(float(edge) / SIDE for edge in edges))
                found.append(Detection(box, kind, 0.5 + 0.5 * len(rows) / SIDE**2))
    return sorted(found, key=lambda one: (-one.score, one.box.left, one.box.top))


def _areas(mask: NDArray[np.bool_]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The rows and columns of each connected area."""
    areas = []
    left = set(zip(*(axis.tolist() for axis in np.nonzero(mask)), strict=True))
    while left:
        open_, area = [left.pop()], []
        while open_:
            row, column = open_.pop()
            area.append((row, column))
            for near in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                if near in left:
                    left.discard(near)
                    open_.append(near)
        rows, columns = zip(*area, strict=True)
        areas.append((np.array(rows), np.array(columns)))
    return areas


Placed = tuple[str, tuple[int, int, int, int]]
"""A kind and its left, top, right and bottom in pixels."""


def scene(placed: Sequence[Placed], size: tuple[int, int] = (640, 480), *, blue_corner: bool = False) -> bytes:
    """A PNG of grey noise with these products in view."""
    pixels = np.random.default_rng(len(placed)).integers(90, 150, (size[1], size[0], 1), dtype=np.uint8)
    pixels = np.repeat(pixels, 3, axis=2)
    for kind, (left, top, right, bottom) in placed:
        pixels[top:bottom, left:right] = COLOURS[kind]
    if blue_corner:
        pixels[:8, :8] = (0, 0, 255)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def grid(count: int, size: tuple[int, int] = (640, 480)) -> list[Placed]:
    """So many products side by side, red and green ones in turn, each with a gap around it."""
    across = max(1, int(np.ceil(np.sqrt(count * size[0] / size[1]))))
    down = max(1, -(-count // across))
    wide, high = size[0] // across, size[1] // down
    places = [(i % across * wide, i // across * high) for i in range(count)]
    # each one is a little smaller than the one before, so that their order is known
    return [
        (("mug", "chair")[i % 2], (x + 4, y + 4, x + wide - 5, y + high - 5 - (i * (high - 20)) // (2 * count)))
        for i, (x, y) in enumerate(places)
    ]
