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
MOST = 12  # lines of a frame at one side of 32: more than a third
_STEP = 8  # levels between the frame and what it surrounds
_ALONG = 0.8  # of the line have such a step
_ACROSS = ([2, 3], [2, 3], [0, 1], [0, 1])  # the sides left and right of each side, of top, bottom, left and right


def inside_frames(left: Greys, right: Greys) -> tuple[NDArray[np.int64], Greys, Greys]:
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
    sides = (greys, greys[:, ::-1], turned, turned[:, ::-1])
    runs = np.stack([_run(one) for one in sides], axis=1)
    lines = np.stack([_lines(one, runs[:, side], runs[:, _ACROSS[side]]) for side, one in enumerate(sides)], axis=1)
    edges = np.stack([one[:, 0].astype(np.float32).mean(1) for one in sides], axis=1)
    for first, last in ((0, 1), (2, 3)):
        opposite = (lines[:, [first, last]] > 0).all(1) & (np.abs(edges[:, first] - edges[:, last]) <= PLAIN)
        lines[:, [first, last]] *= opposite[:, None]
    return lines


def _run(greys: Greys) -> NDArray[np.int64]:
    """How many lines from the top are plain and of one grey, int64 [n], at most one more than a frame may have."""
    top = greys[:, : MOST + 1].astype(np.int16)
    plain = top.max(2) - top.min(2) <= PLAIN
    same = np.abs(top.mean(2) - top[:, :1].mean(2)) <= PLAIN
    return np.asarray((plain & same).cumprod(1).sum(1), np.int64)


def _lines(greys: Greys, run: NDArray[np.int64], across: NDArray[np.int64]) -> NDArray[np.int64]:
    """The lines of the frame at the top of each picture: `run` and one more, or 0. `across` int64 [n, 2] are the plain
    lines at the left and the right: a frame's edge is as long as what lies between them."""
    inner = np.take_along_axis(greys, np.minimum(run, MOST)[:, None, None] + 1, 1)[:, 0].astype(np.int16)
    steps = np.abs(inner - greys[:, 0].astype(np.int16)) >= _STEP
    place, side = np.arange(greys.shape[2]), greys.shape[2]
    between = (place > across[:, :1]) & (place < side - 1 - across[:, 1:])
    share = (steps & between).sum(1) / np.maximum(between.sum(1), 1)
    return np.where((run > 0) & (run <= MOST) & (share >= _ALONG), run + 1, 0)


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
