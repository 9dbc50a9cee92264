"""Training photos that differ from the originals: cropped, made smaller, mirrored, four in one, in another light.

Boxes follow their pixels. A box of which a crop keeps little becomes an ignored one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.detection.data.boxed_set import Boxes
from training.detection.recipe import BoxAugment

Pixels = NDArray[np.uint8]
_GREY = 127
_LEAST_KEPT = 0.35  # of a box's area
_NARROWEST = 5.0  # pixels of a side


class Window(NamedTuple):
    """A part of a photo and where it goes: `source` in shares of the photo, `place` in pixels of the canvas, both left,
    top, right, bottom; `mirrored` swaps left and right of the part."""

    source: tuple[float, float, float, float]
    place: tuple[int, int, int, int]
    mirrored: bool


def augmented(
    photos: Sequence[tuple[Pixels, Boxes]], spec: BoxAugment, side: int, rng: np.random.Generator
) -> list[tuple[Pixels, Boxes]]:
    """As many photos uint8 [side, side, 3] with their boxes as are given. The same generator state gives the same."""
    made = []
    for number, (pixels, boxes) in enumerate(photos):
        if len(photos) > 3 and rng.random() < spec.mosaic:
            others = rng.choice(len(photos), 3, replace=False)
            parts = [(pixels, boxes), *(photos[int(other)] for other in others)]
            made.append(_lit(*_mosaic(parts, spec, side, rng), spec, rng))
        else:
            made.append(_lit(*_alone(photos[number], spec, side, rng), spec, rng))
    return made


def _alone(photo: tuple[Pixels, Boxes], spec: BoxAugment, side: int, rng: np.random.Generator) -> tuple[Pixels, Boxes]:
    mirrored = bool(rng.random() < spec.flip)
    drawn = rng.random()
    if drawn < 0.25:  # as it is
        window = Window((0, 0, 1, 1), (0, 0, side, side), mirrored)
    elif drawn < 0.65:
        window = Window(_part(spec, rng), (0, 0, side, side), mirrored)
    else:
        wide, high = (round(side / float(rng.uniform(1, spec.wide))) for _ in range(2))
        x, y = int(rng.integers(side - wide + 1)), int(rng.integers(side - high + 1))
        window = Window((0, 0, 1, 1), (x, y, x + wide, y + high), mirrored)
    return compose([(photo, window)], side)


def _mosaic(
    parts: Sequence[tuple[Pixels, Boxes]], spec: BoxAugment, side: int, rng: np.random.Generator
) -> tuple[Pixels, Boxes]:
    """Four photos around a middle (Bochkovskiy et al. 2020, YOLOv4, section 3.3)."""
    x, y = (int(side * rng.uniform(0.35, 0.65)) for _ in range(2))
    places = ((0, 0, x, y), (x, 0, side, y), (0, y, x, side), (x, y, side, side))
    windows = [Window(_part(spec, rng), place, bool(rng.random() < spec.flip)) for place in places]
    return compose(list(zip(parts, windows, strict=True)), side)


def _part(spec: BoxAugment, rng: np.random.Generator) -> tuple[float, float, float, float]:
    wide, high = (float(rng.uniform(spec.least, 1)) for _ in range(2))
    x, y = float(rng.uniform(0, 1 - wide)), float(rng.uniform(0, 1 - high))
    return x, y, x + wide, y + high


def compose(parts: Sequence[tuple[tuple[Pixels, Boxes], Window]], side: int) -> tuple[Pixels, Boxes]:
    """Put the windows of photos on a grey canvas of `side` pixels, with the boxes of what is there."""
    canvas = Image.new("RGB", (side, side), (_GREY, _GREY, _GREY))
    edges, kinds, ignored = [], [], []
    for (pixels, boxes), window in parts:
        left, top, right, bottom = window.place
        height, width = pixels.shape[:2]
        source = tuple(share * size for share, size in zip(window.source, (width, height) * 2, strict=True))
        piece = Image.fromarray(pixels).resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=source)
        if window.mirrored:
            piece = piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        canvas.paste(piece, (left, top))
        moved, kept = _moved(boxes.edges, window, side)
        visible = (moved[:, 2:] - moved[:, :2]).min(axis=1, initial=1.0) > 0
        whole = kept & visible
        edges.append(moved[whole])
        kinds.append(boxes.kinds[whole])
        ignored.append(moved[visible & ~whole])
        others, _ = _moved(boxes.ignored, window, side)
        ignored.append(others[(others[:, 2:] - others[:, :2]).min(axis=1, initial=1.0) > 0])
    return np.asarray(canvas), Boxes(np.concatenate(edges), np.concatenate(kinds), np.concatenate(ignored))


def _moved(edges: NDArray[np.float32], window: Window, side: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The boxes [k, 4] in shares of the canvas, cut at the window, and which of them keep enough of their area."""
    left, top, right, bottom = window.source
    low, size = np.array([left, top] * 2), np.array([right - left, bottom - top] * 2)
    inside = (edges - low) / size
    if window.mirrored:
        inside = np.stack([1 - inside[:, 2], inside[:, 1], 1 - inside[:, 0], inside[:, 3]], axis=1)
    whole = (inside[:, 2:] - inside[:, :2]).prod(axis=1)
    inside = inside.clip(0, 1)
    kept = (inside[:, 2:] - inside[:, :2]).prod(axis=1) >= _LEAST_KEPT * np.maximum(whole, 1e-9)
    place = np.array(window.place, np.float64)
    pixels = inside * np.tile(place[2:] - place[:2], 2) + np.tile(place[:2], 2)
    kept &= (pixels[:, 2:] - pixels[:, :2]).min(axis=1, initial=np.inf) >= _NARROWEST
    return (pixels / side).astype(np.float32), kept


def _lit(pixels: Pixels, boxes: Boxes, spec: BoxAugment, rng: np.random.Generator) -> tuple[Pixels, Boxes]:
    """The photo in another light: contrast, brightness and each colour."""
    if not spec.light:
        return pixels, boxes
    gain = rng.uniform(1 - spec.light, 1 + spec.light) * rng.uniform(1 - spec.light / 2, 1 + spec.light / 2, 3)
    shift = rng.uniform(-spec.light, spec.light) * 128
    return np.clip(pixels * gain.astype(np.float32) + np.float32(shift), 0, 255).astype(np.uint8), boxes
