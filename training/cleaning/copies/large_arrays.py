"""Sorting of arrays with a row for each photo, with little memory: part by part.

`np.unique` and `argsort` take 30 to 60 bytes for each row at once. The functions here take that for one part.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 1 << 16  # rows that are read at once: 2 MB of codes
_MOST_PARTS = 64
_MIXED = np.uint64(0x9E3779B97F4A7C15)  # multiplying by it spreads rows that differ in a few bits over all parts
Numbers = NDArray[np.uint32]


def first_of_equal(rows: NDArray[np.uint64]) -> Numbers:
    """For each row the number of the first row that is equal to it, uint32 [n].

    Args:
        rows: uint64 [n, words]. They may lie in a mapped file.
    """
    first = np.arange(len(rows), dtype=np.uint32)
    parts = min(_MOST_PARTS, -(-len(rows) // AT_ONCE))
    for part in range(parts):
        places = np.concatenate([_of_part(rows, some, part, parts) for some in slices(len(rows))])
        whole = rows[places]
        order = np.lexsort(whole.T)  # equal rows stay in their order
        whole = whole[order]
        new = np.ones(len(whole), np.bool_)
        new[1:] = (whole[1:] != whole[:-1]).any(1)
        begin = np.flatnonzero(new)
        first[places[order]] = np.repeat(places[order[begin]], np.diff(begin, append=len(whole)))
    return first


def _of_part(rows: NDArray[np.uint64], some: slice, part: int, parts: int) -> Numbers:
    """Which of some rows belong to a part. Equal rows belong to one part."""
    mixed = (rows[some, 0] * _MIXED) >> np.uint64(40)
    return np.asarray(np.flatnonzero(mixed % np.uint64(parts) == part) + some.start, np.uint32)


def ranks(ordered: NDArray[np.integer]) -> NDArray[np.int64]:
    """For each of some numbers in order, how many equal ones come before it, int64 [n]."""
    places = np.arange(len(ordered))
    new = np.ones(len(ordered), np.bool_)
    new[1:] = ordered[1:] != ordered[:-1]
    return places - np.maximum.accumulate(np.where(new, places, 0))


def slices(count: int) -> Iterator[slice]:
    """The parts of an array of so many rows, `AT_ONCE` rows each."""
    for start in range(0, count, AT_ONCE):
        yield slice(start, min(start + AT_ONCE, count))
