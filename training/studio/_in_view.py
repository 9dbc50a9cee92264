"""Every product that a photo shows, with the box of what is visible of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.studio._drawing.scene import Placed, Scene
from training.studio._product import Product

_LEAST_PIXELS = 12  # of the drawing: fewer show nothing of a product


@dataclass(frozen=True)
class InView:
    """A product in a photo.

    Attributes:
        product: which one.
        box: (x0, y0, x1, y1) in pixels of the photo, around its visible pixels; x1 and y1 exclusive.
        seen: the area of that box as a share of the box that the whole product would have within the photo, from 0
            to 1. It is small where other things stand in front.
    """

    product: Product
    box: tuple[float, float, float, float]
    seen: float


def products_in_view(scene: Scene, owners: NDArray[np.int16], size: tuple[int, int]) -> list[InView]:
    """The products of a scene that a photo shows, in the order of the scene's objects.

    Args:
        scene: what was drawn.
        owners: int16 [h, w], which object each pixel of the drawing shows.
        size: width and height of the photo in pixels.
    """
    height, width = owners.shape
    scale = np.array([size[0] / width, size[1] / height] * 2)
    found = []
    for number, placed in enumerate(scene.objects):
        if placed.product is None:
            continue
        rows, columns = np.nonzero(owners == number)
        if len(rows) < _LEAST_PIXELS:
            continue
        box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], np.float64)
        seen = min(1.0, _area(box) / max(_area(_whole(scene, placed, width, height)), 1.0))
        x0, y0, x1, y1 = (float(edge) for edge in box * scale)
        found.append(InView(placed.product, (x0, y0, x1, y1), seen))
    return found


def _whole(scene: Scene, placed: Placed, width: int, height: int) -> NDArray[np.float64]:
    """The box of the whole object within the drawing, in its pixels."""
    xy, _ = scene.camera.project(placed.mesh.points)
    low, high = xy.min(axis=0), xy.max(axis=0)
    frame = [width, height]
    return np.concatenate([np.clip(low, 0, frame), np.clip(high, 0, frame)]).astype(np.float64)


def _area(box: NDArray[np.float64]) -> float:
    return float(max(box[2] - box[0], 0) * max(box[3] - box[1], 0))
