"""Perceptual hashes of small grey pictures: aHash, dHash and pHash of 64 and 256 bits.

The definitions are those of the package imagehash 4.3 (github.com/JohannesBuchner/imagehash), which the tests compare
with bit by bit. They are computed here on many photos at once, from a grey picture that the fingerprint has anyway, so
that no photo is decoded or resized again for a hash. pHash follows Zauner, *Implementation and Benchmarking of
Perceptual Image Hash Functions* (2010), section 3.2.1: the low frequencies of a cosine transform, against their median.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Greys = NDArray[np.uint8]
Codes = NDArray[np.uint8]
Floats = NDArray[np.float32]
SIDES = {64: 8, 256: 16}
"""Bits of a hash → the side of the square that it is made of."""
_AT_ONCE = 256  # pictures: 2 MB of 32 x 32 pixels
DETAIL = 2  # the picture's side is at least this many times that of a pHash, so that it has the frequencies


def a_hash(greys: Greys, bits: int = 256) -> Codes:
    """A bit is set where the picture, reduced to `bits` pixels, is brighter than its mean.

    Args:
        greys: uint8 [n, side, side].
        bits: 64 or 256.

    Returns:
        uint8 [n, bits / 8], packed row by row, most significant bit first.
    """
    side = _side(bits)
    small = _reduced(greys, side, side).astype(np.float64)
    return _packed(small > small.mean((1, 2), keepdims=True))


def d_hash(greys: Greys, bits: int = 256) -> Codes:
    """A bit is set where a pixel is brighter than its left neighbour. Arguments and result as of `a_hash`."""
    side = _side(bits)
    small = _reduced(greys, side + 1, side)
    return _packed(small[:, :, 1:] > small[:, :, :-1])


def p_hash(greys: Greys | Floats, bits: int = 256) -> Codes:
    """A bit is set where a low frequency of the cosine transform is above the median of all of them.

    The pictures may be of floats. They are not reduced: imagehash reduces to 4 times the side of the hash by default.

    Raises:
        ValueError: a picture has less than twice the side of the hash.
    """
    side = _side(bits)
    if greys.shape[1] < DETAIL * side:
        raise ValueError(f"greys: {greys.shape[1]} pixels a side, at least {DETAIL * side} for {bits} bits")
    basis = p_hash_matrix(greys.shape[1], bits)
    low = basis @ greys.astype(np.float64) @ basis.T
    return _packed(low > np.median(low, axis=(1, 2), keepdims=True))


def p_hash_matrix(size: int, bits: int) -> NDArray[np.float64]:
    """The cosine transform to the frequencies of a pHash, float64 [side of the hash, size]. Low = matrix @ picture @
    matrix.T."""
    return _cosines(size)[: _side(bits)]


HASHES: Mapping[str, Callable[[Greys, int], Codes]] = {"ahash": a_hash, "dhash": d_hash, "phash": p_hash}


def distances(left: Codes, right: Codes) -> NDArray[np.int64]:
    """The number of different bits of each pair of rows, int64 [n]."""
    return np.asarray(np.bitwise_count(left ^ right).sum(-1, dtype=np.int64), np.int64)


def picture_distances(left: Greys, right: Greys) -> NDArray[np.int64]:
    """The number of different bits of the pHashes of each pair of pictures, uint8 [n, side, side], int64 [n]. They are
    taken in parts, because a pHash needs 8 bytes for each pixel."""
    apart = np.empty(len(left), np.int64)
    for start in range(0, len(left), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        apart[some] = distances(p_hash(left[some]), p_hash(right[some]))
    return apart


def _side(bits: int) -> int:
    if bits not in SIDES:
        raise ValueError(f"bits: {bits} is not one of {', '.join(map(str, SIDES))}")
    return SIDES[bits]


def _reduced(greys: Greys, width: int, height: int) -> Greys:
    """Each picture resized by Lanczos with Pillow's rounding, uint8 [n, height, width]."""
    small = np.empty((len(greys), height, width), np.uint8)
    for place, grey in enumerate(greys):
        small[place] = np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.LANCZOS))
    return small


def _packed(bits: NDArray[np.bool_]) -> Codes:
    return np.packbits(bits.reshape(len(bits), -1), axis=1)


@cache
def _cosines(size: int) -> NDArray[np.float64]:
    """The cosine transform of type 2 as a matrix [size, size], without the factor that does not change an order."""
    places = np.arange(size)
    return np.cos(np.pi * places[:, None] * (2 * places[None, :] + 1) / (2 * size))
