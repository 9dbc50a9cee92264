"""Pairs of photos that may be one picture: their hashes are near, plain or with one photo cut or turned.

Every photo's pHash of 256 bits goes into an index. Every photo then asks with the hashes of its warped copies, so that
a picture also finds its own cut or turned copy, whose hash is far from its own. `alignment` judges each pair that is
found, under the two warps that bring it nearest.

pHash is the hash that can be indexed: half of its bits are set in every photo. Of aHash and dHash, whole parts are
equal in all photos on a plain background.

The index lies on the disk. Photos ask in parts, which are spread over workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.bulk import Engine, bulk_map
from training.cleaning.copies.alignment import SIDE, asked_warps, likeness_under, warps
from training.cleaning.copies.code_index import BITS, CodeIndex, write_index
from training.cleaning.copies.hashes import Codes, Floats, Greys, distances, p_hash, p_hash_matrix
from training.cleaning.copies.large_arrays import first_of_equal, slices

_ASKED = 256  # photos that ask at once
_PART = 2048  # photos of a part, 1 s of one core
_JUDGED = 1024  # pairs whose likeness is computed at once: 8 MB
_UNITS = 64  # pictures of one pixel that are warped at once: 3 MB
_PHOTOS, _ALL_CODES = "photos.npy", "all-codes.npy"


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
    folder: Path,
    *,
    bits: int,
    least_likeness: float,
    workers: int = 1,
    engine: Engine = "pool",
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Pair]:
    """Pairs that are near in hash and alike in edges, each once or twice.

    Among photos with an equal pHash only the first asks and is found; each of the others is paired with that one alone.
    Of pairs that are far apart in bits the index misses some: see `code_index`.

    Args:
        pictures: gives the small picture of any photo. With workers it is pickled.
        photos: numbers of the photos to compare, int64 [n], in order. Of photos with equal bytes, name one.
        folder: of the index, which is written anew. With Ray, all machines must see it.
        bits: the largest distance of two hashes.
        least_likeness: see `alignment.likeness`.
        workers: processes. 1 works in this process.
        engine: what runs the workers.
        progress: called with the photos that have asked and the photos in all.
    """
    if not len(photos):
        return
    folder.mkdir(parents=True, exist_ok=True)
    codes = _codes(pictures, photos, folder / _ALL_CODES)
    first = first_of_equal(codes.view(np.uint64))
    yield from _equal_codes(pictures, photos, first, least_likeness)
    places = np.concatenate([_own(first[some], some) for some in slices(len(first))])
    np.save(folder / _PHOTOS, photos[places])
    write_index(folder, codes, places)
    count = len(places)
    del codes, first, places, photos  # what follows takes all from files
    (folder / _ALL_CODES).unlink()
    parts = [range(start, min(start + _PART, count)) for start in range(0, count, _PART)]
    work = partial(_ask, folder=folder.absolute(), pictures=pictures, bits=bits, least=least_likeness)
    alone = workers == 1 and engine == "pool"
    found = map(work, parts) if alone else bulk_map(work, parts, workers=workers, engine=engine)
    for part, (left, right, apart, alike) in zip(parts, found, strict=True):
        yield from map(Pair, left.tolist(), right.tolist(), apart.tolist(), alike.tolist())
        if progress is not None:
            progress(part.stop, count)
    _opened.cache_clear()  # lets go of the mapped index


def warped_distances(left: Greys, right: Greys) -> NDArray[np.int64]:
    """The number of different bits of the hashes of each pair of pictures, uint8 [n, 32, 32], int64 [n]: the least of
    all warps of either picture that ask."""
    apart = np.full(len(left), BITS, np.int64)
    for start in range(0, len(left), _ASKED):
        some = slice(start, start + _ASKED)
        for one, other in ((left[some], right[some]), (right[some], left[some])):
            warped = _warped_codes(one).reshape(len(one), -1, BITS // 8)
            apart[some] = np.minimum(apart[some], distances(warped, p_hash(other, BITS)[:, None]).min(1))
    return apart


class _Pairs(NamedTuple):
    """Pairs as arrays; the fields are those of `Pair`."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    bits: NDArray[np.int64]
    likeness: NDArray[np.float32]


def _ask(part: range, *, folder: Path, pictures: Pictures, bits: int, least: float) -> _Pairs:
    """The pairs that the photos of one part find."""
    index, photos = _opened(folder, (folder / _PHOTOS).stat().st_mtime_ns)
    numbers = np.array(asked_warps())
    made = []
    for start in range(part.start, part.stop, _ASKED):
        some = photos[start : min(start + _ASKED, part.stop)]
        queries = _warped_codes(pictures(some))
        owner, places, apart = index.ask(queries, bits)
        left, right, number = some[owner // len(numbers)], photos[places], numbers[owner % len(numbers)]
        left, right, apart, number = (one[left != right] for one in (left, right, apart, number))
        nearest = _nearest(left, right, apart)
        left, right, apart, number = (one[nearest] for one in (left, right, apart, number))
        alike = _alike(pictures, left, right, number)
        kept = alike >= least
        made.append(_Pairs(left[kept], right[kept], apart[kept], alike[kept]))
    return _Pairs(*(np.concatenate(parts) for parts in zip(*made, strict=True)))


@lru_cache(maxsize=1)
def _opened(folder: Path, written: int) -> tuple[CodeIndex, NDArray[np.int64]]:
    return CodeIndex(folder), np.load(folder / _PHOTOS, mmap_mode="r")


def _nearest(left: NDArray[np.int64], right: NDArray[np.int64], apart: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the two warps of each pair are that bring it nearest, int64: one or two places for each pair."""
    order = np.lexsort((apart, right, left))
    first = (np.diff(left[order], prepend=-1) != 0) | (np.diff(right[order], prepend=-1) != 0)
    second = np.zeros_like(first)
    second[1:] = first[:-1]
    return np.asarray(order[first | second], np.int64)


def _warped_codes(greys: Greys) -> Codes:
    """The pHash of every warped copy that asks, uint8 [n * warps, 32].

    A warp and the cosine transform are both linear, so one matrix does both, in half the time of one after the other.
    """
    low = greys.reshape(len(greys), -1).astype(np.float32) @ _both()
    low = low.reshape(-1, BITS)
    middle = np.partition(low, (BITS // 2 - 1, BITS // 2), axis=1)[:, BITS // 2 - 1 : BITS // 2 + 1]
    return np.packbits(low > middle.mean(1, keepdims=True), axis=1)


@cache
def _both() -> Floats:
    """Pixels → the low frequencies of all warps that ask, float32 [1024, warps * 256]."""
    units = np.eye(SIDE * SIDE, dtype=np.uint8).reshape(-1, SIDE, SIDE)
    basis = p_hash_matrix(SIDE, BITS)
    low = np.empty((len(units), len(asked_warps()), *basis.shape[:1] * 2), np.float32)
    for start in range(0, len(units), _UNITS):
        some = slice(start, start + _UNITS)
        low[some] = basis @ warps(units[some])[:, asked_warps()] @ basis.T
    return low.reshape(len(units), -1)


def _alike(
    pictures: Pictures, left: NDArray[np.int64], right: NDArray[np.int64], number: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The likeness of pairs under their warps. One photo may have thousands, so they are taken in parts."""
    found = np.empty(len(left), np.float32)
    for start in range(0, len(left), _JUDGED):
        part = slice(start, start + _JUDGED)
        found[part] = likeness_under(pictures(left[part]), pictures(right[part]), number[part])
    return found


def _codes(pictures: Pictures, photos: NDArray[np.int64], file: Path) -> Codes:
    """The pHash of every photo, uint8 [n, 32], in a mapped file."""
    codes = np.lib.format.open_memmap(file, "w+", np.uint8, (len(photos), BITS // 8))
    for start in range(0, len(photos), _JUDGED):
        some = slice(start, start + _JUDGED)
        codes[some] = p_hash(pictures(photos[some]), BITS)
    return codes


def _own(first: NDArray[np.uint32], some: slice) -> NDArray[np.uint32]:
    """Which of some photos are the first ones with their code."""
    own = first == np.arange(some.start, some.stop)
    return np.asarray(np.flatnonzero(own) + some.start, np.uint32)


def _equal_codes(
    pictures: Pictures, photos: NDArray[np.int64], first: NDArray[np.uint32], least: float
) -> Iterator[Pair]:
    """Each photo with the first one of the same code. Thousands of equal codes, as placeholders have, would otherwise
    give millions of pairs."""
    for some in slices(len(first)):
        repeated = np.flatnonzero(first[some] != np.arange(some.start, some.stop)) + some.start
        left, right = photos[repeated], photos[first[repeated]]
        alike = _alike(pictures, left, right, np.zeros(len(repeated), np.int64))
        for i in np.flatnonzero(alike >= least):
            yield Pair(int(left[i]), int(right[i]), 0, float(alike[i]))
