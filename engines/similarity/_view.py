"""One consistent state of the codes, searched without a lock.

Rows are numbered in order of arrival. Rows [0, merged) lie in a sealed FAISS index, rows [merged, count) in an array
that only grows at its end. `died[row]` is the generation at which the row ceased to be, so that a view of generation
g sees a row whose `died` is above g: a listing's update, which kills rows and adds others, appears all at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from engines.similarity.types import CODE_BYTES, Neighbour

Owner = tuple[str, str]  # listing id, image id
Codes = npt.NDArray[np.uint8]
ALIVE = np.iinfo(np.uint32).max
_SPARE = 64  # fetched beyond 2k, so that one pass usually sees past the ties and the dead at the k-th place
_BEYOND = 8 * CODE_BYTES + 1  # farther than any code can be
_ESCALATION = 8  # fetch this many times more when the dead crowd out the living


class _Found(NamedTuple):
    """Living rows and their distances, in no order."""

    distances: npt.NDArray[np.int32]
    rows: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class View:
    """An immutable state, `dead` of its `count` rows dead; `died` and `tail` are shared with the writer, which never
    changes what this generation can see."""

    merged: Any  # faiss.IndexBinaryFlat, sealed
    tail: Codes
    count: int
    died: npt.NDArray[np.uint32]
    owners: list[Owner]
    generation: int
    dead: int

    @property
    def base(self) -> int:
        """Rows in the sealed part."""
        return int(self.merged.ntotal)

    def codes(self) -> Codes:
        """uint8 [count, 32], every row, dead ones too."""
        return np.concatenate([sealed_codes(self.merged), self.tail[: self.count - self.base]])

    def code(self, row: int) -> bytes:
        """The 32 bytes of one row."""
        if row >= self.base:
            return bytes(self.tail[row - self.base])
        return bytes(self.merged.reconstruct(row))

    def search(self, hashes: Codes, k: int) -> list[list[Neighbour]]:
        """The k nearest living rows of each hash, ties by (listing id, image id); fewer when fewer live."""
        fetch = min(self.base, 2 * k + _SPARE)
        if fetch:
            distances, rows = self.merged.search(hashes, fetch)
        else:
            distances, rows = np.empty((len(hashes), 0), np.int32), np.empty((len(hashes), 0), np.int64)
        return [self._nearest(hashes[i : i + 1], k, distances[i], rows[i]) for i in range(len(hashes))]

    def _nearest(
        self, code: Codes, k: int, distances: npt.NDArray[np.int32], rows: npt.NDArray[np.int64]
    ) -> list[Neighbour]:
        """Finish one hash, given the nearest sealed rows, dead ones among them.

        Rows nearer than the farthest fetched are all there; of those as far as it, FAISS may have left some out. So
        the answer is complete once the k-th living row is nearer than the horizon; else its ties are fetched.
        """
        tail = self._search_tail(code)
        while True:
            complete = len(rows) == self.base
            horizon = _BEYOND if complete else int(distances[-1])
            found = self._living(distances, rows, tail)
            if complete or np.count_nonzero(found.distances < horizon) >= k:
                return self._ranked(found, k)
            if len(found.distances) >= k:
                radius = int(np.partition(found.distances, k - 1)[k - 1]) + 1
                _, distances, rows = self.merged.range_search(code, radius)
                return self._ranked(self._living(distances, rows, tail), k)
            distances, rows = self.merged.search(code, min(self.base, _ESCALATION * len(rows)))
            distances, rows = distances[0], rows[0]

    def _living(self, distances: npt.NDArray[np.int32], rows: npt.NDArray[np.int64], tail: _Found) -> _Found:
        """The living among sealed rows, and those of the tail."""
        alive = self.died[rows] > self.generation
        return _Found(
            np.concatenate([distances[alive].astype(np.int32), tail.distances]),
            np.concatenate([rows[alive], tail.rows]),
        )

    def _search_tail(self, code: Codes) -> _Found:
        """Every living row of the growing part with its distance; it is a few thousand rows at most."""
        base = self.base
        rows = base + np.flatnonzero(self.died[base : self.count] > self.generation)
        differing = self.tail[rows - base].view(np.uint64) ^ code.view(np.uint64)
        return _Found(np.bitwise_count(differing).sum(axis=1, dtype=np.int32), rows)

    def _ranked(self, found: _Found, k: int) -> list[Neighbour]:
        distances, rows = found
        if len(distances) > k:
            near = distances <= np.partition(distances, k - 1)[k - 1]
            distances, rows = distances[near], rows[near]
        owners = self.owners
        pairs = zip(distances.tolist(), rows.tolist(), strict=True)
        ranked = sorted((distance, *owners[row]) for distance, row in pairs)
        return [Neighbour(listing_id, image_id, distance) for distance, listing_id, image_id in ranked[:k]]


def sealed_codes(merged: Any) -> Codes:
    """The codes of a FAISS index as uint8 [ntotal, 32], without a copy; valid while the index lives."""
    import faiss

    if not merged.ntotal:
        return np.empty((0, CODE_BYTES), np.uint8)
    flat = faiss.rev_swig_ptr(merged.xb.data(), merged.ntotal * CODE_BYTES)
    return np.asarray(flat).reshape(-1, CODE_BYTES)


def seal(*parts: Codes) -> Any:
    """A FAISS index of these codes, in order; nobody adds to it afterwards."""
    import faiss

    merged = faiss.IndexBinaryFlat(8 * CODE_BYTES)
    for part in parts:
        if len(part):
            merged.add(np.ascontiguousarray(part))
    return merged
