"""Groups of photos that may be one picture, and the pairs that joined them.

Photos hang together in chains, so among many similar photos a group can have thousands that are not all alike. Then
nobody can compare each with each; `Links` says which photos of such a group found each other.

A million photos have millions of pairs. They lie in a file without a name, which goes with the process. The pairs of
large groups are sorted into a second one, so that those of one group lie together.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from training.cleaning.copies.groups.links import Links
from training.cleaning.copies.large_arrays import ranks, slices
from training.cleaning.copies.near_pairs import Pair

Numbers = NDArray[np.uint32]
_BUFFERED = 4096  # pairs that are written at once
_PAIR = np.dtype([("left", "u4"), ("right", "u4"), ("alike", "f4")])


class Groups:
    """Which photos belong together, out of `count`. It takes 8 bytes of memory a photo, and 12 bytes of a file a pair.

    Use it in a `with` block: at the end the files are deleted.
    """

    def __init__(self, count: int, folder: Path, *, large: int) -> None:
        """Groups of one photo each.

        Args:
            count: of all photos.
            folder: that the files lie in; made if it is missing.
            large: `links` is for groups of more photos than this.
        """
        numbers = np.arange(count, dtype=np.uint32).tobytes()
        self._parent, self._twin = array("I", numbers), array("I", numbers)
        self._large = large
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._sorted = _scratch(folder), _scratch(folder)
        self._added: list[tuple[int, int, float]] = []
        self._large_roots = np.empty(0, np.uint32)
        self._ends = np.zeros(1, np.int64)  # of the pairs of each large group, in the sorted file

    def __enter__(self) -> Groups:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._sorted.close()

    def same_bytes(self, one: int, other: int) -> None:
        """Two photos have equal bytes. They are twins: what finds one of them found the other."""
        _join(self._parent, one, other)
        _join(self._twin, one, other)

    def pair(self, pair: Pair) -> None:
        """Two photos are alike. Where their hashes are equal, perhaps under a warp, they are twins: of photos with one
        hash only the first one asks."""
        _join(self._parent, pair.left, pair.right)
        if pair.bits == 0:
            _join(self._twin, pair.left, pair.right)
        self._added.append((pair.left, pair.right, pair.likeness))
        if len(self._added) >= _BUFFERED:
            self._write()

    def of_several(self) -> Iterator[NDArray[np.int64]]:
        """The groups of two or more, int64 [n] each in order, in the order of their first members. No pair may come
        later."""
        self._write()
        roots = _flattened(self._parent)
        _flattened(self._twin)
        members = _of_several(roots)
        members = members[np.argsort(roots[members], kind="stable")]
        begin = np.flatnonzero(roots[members] == members).astype(np.uint32)
        sizes = np.diff(begin, append=np.uint32(len(members)))
        self._sort_pairs(roots, members[begin[sizes > self._large]])
        for first, size in zip(begin, sizes, strict=True):
            yield members[first : first + size].astype(np.int64)

    def links(self, members: NDArray[np.int64]) -> Links:
        """The pairs within one large group of `of_several`.

        Raises:
            KeyError: the group is not large.
        """
        place = int(np.searchsorted(self._large_roots, members[0]))
        if place == len(self._large_roots) or self._large_roots[place] != members[0]:
            raise KeyError(f"the group of photo {members[0]} has at most {self._large} photos")
        begin, end = self._ends[place : place + 2].tolist()
        pairs = _read(self._sorted, begin, end - begin)
        twins = np.frombuffer(self._twin, np.uint32)[members]
        return Links(members, twins, pairs["left"], pairs["right"], pairs["alike"])

    def _write(self) -> None:
        self._file.write(np.array(self._added, _PAIR).tobytes())
        self._added.clear()

    def _sort_pairs(self, roots: Numbers, large: Numbers) -> None:
        """Sort the pairs of the large groups by group: count them, then put each at its place. Pairs of a group stay in
        their order."""
        counts = np.zeros(len(large), np.int64)
        for _, of in self._of_large(roots, large):
            counts += np.bincount(of, minlength=len(large))
        self._large_roots, self._ends = large, np.concatenate([[0], np.cumsum(counts)])
        if not self._ends[-1]:
            return
        self._sorted.truncate(int(self._ends[-1]) * _PAIR.itemsize)
        made = np.memmap(self._sorted, _PAIR, "r+")
        following = self._ends[:-1].copy()
        for pairs, of in self._of_large(roots, large):
            order = np.argsort(of, kind="stable")
            ordered = of[order]
            made[following[ordered] + ranks(ordered)] = pairs[order]
            following += np.bincount(of, minlength=len(large))
        made.flush()

    def _of_large(self, roots: Numbers, large: Numbers) -> Iterator[tuple[NDArray[np.void], NDArray[np.int64]]]:
        """The pairs of large groups, part by part, and the place in `large` of each one's group."""
        if not len(large):
            return
        for some in slices(self._file.seek(0, 2) // _PAIR.itemsize):
            pairs = _read(self._file, some.start, some.stop - some.start)
            root = roots[pairs["left"]]
            of = np.minimum(np.searchsorted(large, root), len(large) - 1)
            kept = large[of] == root
            yield pairs[kept], of[kept]


def _scratch(folder: Path) -> IO[bytes]:
    return tempfile.TemporaryFile(dir=folder, buffering=0)


def _read(file: IO[bytes], begin: int, count: int) -> NDArray[np.void]:
    file.seek(begin * _PAIR.itemsize)
    return np.fromfile(file, _PAIR, count)


def _flattened(parent: array[int]) -> Numbers:
    """Make each photo's parent the first photo of its group, and return this as an array on the same memory."""
    roots = np.frombuffer(parent, np.uint32)
    for some in slices(len(roots)):
        while (upper := roots[roots[some]]).tobytes() != roots[some].tobytes():
            roots[some] = upper
    return roots


def _of_several(roots: Numbers) -> Numbers:
    """The photos in groups of two or more."""
    several = np.zeros(len(roots), np.bool_)
    for some in slices(len(roots)):
        joined = np.flatnonzero(roots[some] != np.arange(some.start, some.stop))
        several[joined + some.start] = True
        several[roots[some][joined]] = True
    parts = [np.flatnonzero(several[some]).astype(np.uint32) + np.uint32(some.start) for some in slices(len(roots))]
    return np.concatenate(parts) if parts else np.empty(0, np.uint32)


def _join(parent: array[int], one: int, other: int) -> None:
    a, b = _root(parent, one), _root(parent, other)
    if a != b:
        parent[max(a, b)] = min(a, b)


def _root(parent: array[int], place: int) -> int:
    while parent[place] != place:
        parent[place] = parent[parent[place]]
        place = parent[place]
    return place
