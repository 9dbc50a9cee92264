"""Whether two photos are one picture: the likeness of their edges, after one is cut, framed or turned like the other.

Perceptual hashes propose pairs, and this decides. It looks at grey pictures of 32 x 32 pixels, into which the whole
photo was squashed. One picture is warped in each of a few ways: cut off at the sides, with a border, or turned by a few
degrees. The likeness is the correlation of the two pictures' gradients, over the part that both show. Gradients do not
change with brightness, and correlation does not change with contrast. Two photos of one product on a plain background
have similar grey values, but edges in other places.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from training.cleaning.copies.frames import inside_frames
from training.cleaning.copies.hashes import Floats, Greys

SIDE = 32  # pixels of the compared pictures
ZOOMS = (1.0, 1.04, 1.1, 1.2)  # 1.2 undoes a cut of 8 % at each side, 1 / 1.2 a border of 10 %
ANGLES = (-5.0, -2.5, 2.5, 5.0)  # degrees
_AT_ONCE = 64  # pairs under all warps at once: 3 MB for each array
_LEAST = 0.5  # a warp shows at least this share of the picture
APART = 20.0  # mean difference of levels at which two flat pictures are no longer alike at all
_FLAT = 1.0  # mean squared gradient below which a picture has no edges to compare


def likeness(left: Greys, right: Greys) -> NDArray[np.float32]:
    """How alike the edges of each pair are, under the warp of either photo that makes them most alike.

    Args:
        left: uint8 [n, 32, 32].
        right: uint8 [n, 32, 32], the other photo of each pair.

    Returns:
        float32 [n], 1 for equal edges, near 0 for unrelated ones. A pair of two flat pictures gets the closeness of
        their grey values instead, because such pictures have no edges.
    """
    framed, ours, theirs = inside_frames(left, right)
    if len(framed):
        left, right = left.copy(), right.copy()
        left[framed], right[framed] = ours, theirs
    return _likeness(left, right)


def _likeness(left: Greys, right: Greys) -> NDArray[np.float32]:
    starts = range(0, len(left), _AT_ONCE)
    parts = [_best(left[start : start + _AT_ONCE], right[start : start + _AT_ONCE]) for start in starts]
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def _best(left: Greys, right: Greys) -> NDArray[np.float32]:
    seen = np.stack([inside for _, _, inside in _warps()])[None, :, None]  # [1, warps, 1, 30, 30]
    best = np.full(len(left), -1, np.float32)
    for one, other in ((left, right), (right, left)):
        warped = warps(one)
        across = _gradients(warped.reshape(-1, SIDE, SIDE)).reshape(*warped.shape[:2], 2, SIDE - 2, SIDE - 2)
        plain = np.broadcast_to(_gradients(other.astype(np.float32))[:, None], across.shape)
        shape = (len(one) * warped.shape[1], -1)
        alike = _products((across * seen).reshape(shape), (plain * seen).reshape(shape))
        best = np.maximum(best, alike.reshape(warped.shape[:2]).max(1))
    return np.maximum(_flat(left, right, best), -1)


def likeness_under(left: Greys, right: Greys, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
    """The likeness of each pair with the left photo warped in the one way of `numbers` int64 [n], as `warps` counts.
    Two photos with frames are compared under all warps: how one was warped was found by the frames."""
    found = np.empty(len(left), np.float32)
    floats = right.astype(np.float32)
    for number in np.unique(numbers):
        some = numbers == number
        places, weights, seen = _warps()[number]
        warped = _warped(left[some].astype(np.float32), places, weights)
        found[some] = _correlation(_gradients(warped), _gradients(floats[some]), seen)
    found = _flat(left, right, found)
    framed, ours, theirs = inside_frames(left, right)
    found[framed] = _likeness(ours, theirs)
    return found


def count_of_warps() -> int:
    """In how many ways `warps` warps a picture."""
    return len(_warps())


def asked_warps() -> list[int]:
    """The numbers of the warps that hashes are asked with: all but the turns to one side. If one photo is the other
    turned to the left, that one is this turned to the right, and both ask. Cuts and frames are asked for in both
    directions, because what is around a photo is not known."""
    count = count_of_warps()
    return [*range(count - len(ANGLES)), *range(count - len(ANGLES) // 2, count)]


def warps(greys: Greys) -> Floats:
    """Every warp of each picture, float32 [n, warps, 32, 32], the unchanged one first. Pixels outside a picture repeat
    its sides."""
    floats = greys.astype(np.float32)
    return np.stack([_warped(floats, places, weights) for places, weights, _ in _warps()], axis=1)


def _warped(greys: Floats, places: NDArray[np.int64], weights: Floats) -> Floats:
    flat = greys.reshape(len(greys), -1)
    mixed = sum(flat[:, places[corner]] * weights[corner] for corner in range(4))
    return np.asarray(mixed, np.float32).reshape(greys.shape)


def _gradients(greys: Floats) -> Floats:
    """Central differences along both axes, float32 [n, 2, 30, 30]."""
    across = greys[:, 1:-1, 2:] - greys[:, 1:-1, :-2]
    down = greys[:, 2:, 1:-1] - greys[:, :-2, 1:-1]
    return np.stack([across, down], axis=1)


def _correlation(left: Floats, right: Floats, seen: Floats) -> NDArray[np.float32]:
    one, other = ((part * seen).reshape(len(part), -1) for part in (left, right))
    return _products(one, other)


def _products(one: Floats, other: Floats) -> NDArray[np.float32]:
    """The cosine of each pair of rows."""
    both, squares, others = (np.einsum("np,np->n", a, b) for a, b in ((one, other), (one, one), (other, other)))
    return np.asarray(both / np.sqrt(np.maximum(squares * others, 1e-6)), np.float32)


def _flat(left: Greys, right: Greys, found: NDArray[np.float32]) -> NDArray[np.float32]:
    """The result, with the pairs of two flat pictures judged by their grey values."""
    energy = [np.square(_gradients(one.astype(np.float32))).mean((1, 2, 3)) for one in (left, right)]
    flat = np.maximum(*energy) < _FLAT
    apart = np.abs(left.astype(np.float32) - right.astype(np.float32)).mean((1, 2))
    return np.where(flat, 1 - apart / APART, found).astype(np.float32)


@cache
def _warps() -> list[tuple[NDArray[np.int64], Floats, Floats]]:
    """For each warp the four source pixels of each pixel, int64 [4, 1024], their weights, float32 [4, 1024], and
    whether all pixels of a gradient come from inside, float32 [30, 30]."""
    zooms = [*ZOOMS, *(1 / zoom for zoom in ZOOMS[1:])]
    made = [_warp(zoom, 0.0) for zoom in zooms] + [_warp(1.0, angle) for angle in ANGLES]
    return [warp for warp in made if warp[2].mean() >= _LEAST]


def _warp(zoom: float, degrees: float) -> tuple[NDArray[np.int64], Floats, Floats]:
    middle = (SIDE - 1) / 2
    down, across = np.mgrid[:SIDE, :SIDE] - middle
    turn = np.deg2rad(degrees)
    x = (np.cos(turn) * across - np.sin(turn) * down) / zoom + middle
    y = (np.sin(turn) * across + np.cos(turn) * down) / zoom + middle
    inside = (x >= 0) & (x <= SIDE - 1) & (y >= 0) & (y <= SIDE - 1)
    x, y = np.clip(x, 0, SIDE - 1), np.clip(y, 0, SIDE - 1)
    left, top = np.minimum(x.astype(np.int64), SIDE - 2), np.minimum(y.astype(np.int64), SIDE - 2)
    right_share, down_share = x - left, y - top
    places = np.stack([(top + i) * SIDE + left + j for i in (0, 1) for j in (0, 1)]).reshape(4, -1)
    shares = [
        (down_share if i else 1 - down_share) * (right_share if j else 1 - right_share) for i in (0, 1) for j in (0, 1)
    ]
    whole = np.lib.stride_tricks.sliding_window_view(inside, (3, 3)).all((2, 3))
    return places, np.stack(shares).reshape(4, -1).astype(np.float32), np.asarray(whole, np.float32)
