"""Pairs of photos that may be one picture: their hashes are near, plain or with one photo cut, framed or turned.

Every photo's pHash of 256 bits goes into a binary index of FAISS. Every photo then asks with the hashes of its warped
copies, so that a picture also finds its own cut or framed copy, whose hash is far from its own. `alignment` judges each
pair that is found, under the warp that found it.

pHash is the hash that can be indexed: half of its bits are set in every photo. Of aHash and dHash, whole parts are
equal in all photos on a plain background.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigError
from training.cleaning.copies.alignment import count_of_warps, likeness_under, warps
from training.cleaning.copies.hashes import Codes, Greys, p_hash

BITS = 256
EXACT_BELOW = 60_000  # photos; up to here every code is compared, which takes a minute for each core
TABLES = 16  # of the multi-index hash beyond, with 16 bits each: Norouzi, Punjani, Fleet, CVPR 2012
_ASKED = 256  # photos that ask at once: 13 MB for their warped copies
_JUDGED = 1024  # pairs whose likeness is computed at once: 8 MB


@dataclass(frozen=True)
class Pair:
    """Two photos, numbered as in the list, that are alike: their distance in bits under the best warp, and their
    likeness."""

    left: int
    right: int
    bits: int
    likeness: float


Pictures = Callable[[NDArray[np.int64]], Greys]
"""Numbers of photos, int64 [n] → their small grey pictures, uint8 [n, 32, 32]."""


def near_pairs(
    pictures: Pictures,
    photos: NDArray[np.int64],
    *,
    bits: int,
    least_likeness: float,
    threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Pair]:
    """Every pair that is near in hash and alike in edges, each once or more often.

    Args:
        pictures: gives the small picture of any photo.
        photos: numbers of the photos to compare, int64 [n], in order. Of photos with equal bytes, name one.
        bits: the largest distance of two hashes.
        least_likeness: see `alignment.likeness`.
        threads: of FAISS; 0 leaves it as it is.
        progress: called with the photos that have asked and the photos in all.

    Raises:
        ConfigError: FAISS is not installed.
    """
    if not len(photos):
        return
    codes = _codes(pictures, photos)
    places, first = _distinct(codes)
    yield from _equal_codes(pictures, photos, first, least_likeness)
    index = _index(codes[places], threads)
    for start in range(0, len(places), _ASKED):
        some = places[start : start + _ASKED]
        left, right, number, apart = _ask(index, warps(pictures(photos[some])), bits)
        left, right = photos[some[left]], photos[places[right]]
        other = left != right
        left, right, number, apart = left[other], right[other], number[other], apart[other]
        alike = _alike(pictures, left, right, number)
        for i in np.flatnonzero(alike >= least_likeness):
            yield Pair(int(left[i]), int(right[i]), int(apart[i]), float(alike[i]))
        if progress is not None:
            progress(min(start + _ASKED, len(places)), len(places))


def _alike(
    pictures: Pictures, left: NDArray[np.int64], right: NDArray[np.int64], number: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The likeness of pairs under their warps. One photo may have thousands, so they are taken in parts."""
    found = np.empty(len(left), np.float32)
    for start in range(0, len(left), _JUDGED):
        part = slice(start, start + _JUDGED)
        found[part] = likeness_under(pictures(left[part]), pictures(right[part]), number[part])
    return found


def _codes(pictures: Pictures, photos: NDArray[np.int64]) -> Codes:
    starts = range(0, len(photos), _JUDGED)
    return np.concatenate([p_hash(pictures(photos[start : start + _JUDGED]), BITS) for start in starts])


def _distinct(codes: Codes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each distinct code first is, in order, and for each photo the place of the first one with its code.

    Thousands of equal codes, as plain pictures have, would otherwise give millions of pairs.
    """
    whole = np.ascontiguousarray(codes).view(np.dtype((np.void, codes.shape[1]))).ravel()
    _, first, inverse = np.unique(whole, return_index=True, return_inverse=True)
    return np.sort(first).astype(np.int64), first[inverse.ravel()].astype(np.int64)


def _equal_codes(
    pictures: Pictures, photos: NDArray[np.int64], first: NDArray[np.int64], least: float
) -> Iterator[Pair]:
    """Each photo with the first one of the same code."""
    repeated = np.flatnonzero(first != np.arange(len(first)))
    left, right = photos[repeated], photos[first[repeated]]
    alike = _alike(pictures, left, right, np.zeros(len(repeated), np.int64))
    for i in np.flatnonzero(alike >= least):
        yield Pair(int(left[i]), int(right[i]), 0, float(alike[i]))


def _index(codes: Codes, threads: int) -> Any:
    try:
        import faiss
    except ModuleNotFoundError:
        raise ConfigError("duplicates: faiss is not installed; pip install 'groknet[cpu]'") from None
    if threads:
        faiss.omp_set_num_threads(threads)
    if len(codes) < EXACT_BELOW:
        index: Any = faiss.IndexBinaryFlat(BITS)
    else:
        index = faiss.IndexBinaryMultiHash(BITS, TABLES, BITS // TABLES)
        index.nflip = 1
    index.add(np.ascontiguousarray(codes))
    return index


def _ask(
    index: Any, asked: NDArray[np.float32], bits: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """For each neighbour of each warped picture: the picture, the neighbour, the warp, and the distance in bits."""
    count = count_of_warps()
    queries = p_hash(asked.reshape(-1, *asked.shape[2:]), BITS)
    limits, apart, found = index.range_search(queries, bits + 1)  # FAISS excludes the radius itself
    owner = np.repeat(np.arange(len(queries)), np.diff(limits.astype(np.int64)))
    return owner // count, found.astype(np.int64), owner % count, apart.astype(np.int64)
