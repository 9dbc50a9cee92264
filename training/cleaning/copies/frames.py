"""Frames around photos: two pictures with the same frame are compared without it.

The edges of a frame are long and strong, so two different pictures in one white frame would look like one picture. A
frame is a run of plain lines at a side of a small grey picture, with an edge along nearly all of its length, and a run
of the same grey at the opposite side. A product on a plain background has no such edge: at most a part of the line next
to the background shows the product. A wall above a floor has no such opposite side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.cleaning.copies.hashes import Greys

PLAIN = 12  # grey levels within a plain line, after JPEG
MOST = 6  # lines of a frame at one side of 32: a fifth
_STEP = 8  # levels between the frame and what it surrounds
_ALONG = 0.8  # of the line have such a step


def without_frames(left: Greys, right: Greys) -> tuple[NDArray[np.int64], Greys, Greys]:
    """The pairs of which both pictures have a frame: their places, int64 [k], and what their frames surround, uint8
    [k, side, side] each.

    Args:
        left: uint8 [n, side, side].
        right: the other picture of each pair, like `left`.
    """
    ours = frames(left)
    some = np.flatnonzero(ours.any(1))
    theirs = frames(right[some])
    both = theirs.any(1)
    places = some[both]
    inside = [
        np.stack([_inside(*one) for one in zip(greys, found, strict=True)]) if len(places) else greys[:0]
        for greys, found in ((left[places], ours[places]), (right[places], theirs[both]))
    ]
    return places, inside[0], inside[1]


def frames(greys: Greys) -> NDArray[np.int64]:
    """How many lines a frame has at the top, the bottom, the left and the right of each picture, int64 [n, 4]. The line
    that is half frame and half picture counts."""
    turned = greys.swapaxes(1, 2)
    found = []
    for one in (greys, turned):
        first, last = one[:, 0].astype(np.float32).mean(1), one[:, -1].astype(np.float32).mean(1)
        lines = np.stack([_lines(one), _lines(one[:, ::-1])], axis=1)
        opposite = (lines > 0).all(1) & (np.abs(first - last) <= PLAIN)
        found.append(np.where(opposite[:, None], lines, 0))
    return np.concatenate(found, axis=1)


def _lines(greys: Greys) -> NDArray[np.int64]:
    """The lines of the frame at the top of each picture."""
    top = greys[:, : MOST + 2].astype(np.int16)
    plain = top.max(2) - top.min(2) <= PLAIN
    same = np.abs(top.mean(2) - top[:, :1].mean(2)) <= PLAIN
    run = (plain & same).cumprod(1).sum(1)
    framed = (run > 0) & (run <= MOST)
    inner = np.take_along_axis(top, np.minimum(run, MOST)[:, None, None] + 1, 1)[:, 0]
    middle = slice(MOST, greys.shape[2] - MOST)  # frames at the sides have no edge with this one
    steps = np.abs(inner - top[:, 0])[:, middle] >= _STEP
    return np.where(framed & (steps.mean(1) >= _ALONG), run + 1, 0)


def _inside(grey: NDArray[np.uint8], frame: NDArray[np.int64]) -> NDArray[np.uint8]:
    """What a frame surrounds, as large as the picture, by linear interpolation."""
    top, bottom, left, right = frame.tolist()
    side = len(grey)
    inner = grey[top : side - bottom, left : side - right].astype(np.float32)
    for _ in range(2):  # lines, then columns
        places = np.clip((np.arange(side) + 0.5) * len(inner) / side - 0.5, 0, len(inner) - 1)
        low = np.minimum(places.astype(np.int64), len(inner) - 2)
        share = (places - low)[:, None].astype(np.float32)
        inner = (inner[low] * (1 - share) + inner[low + 1] * share).T
    return np.rint(inner).astype(np.uint8)
