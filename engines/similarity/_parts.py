"""The parts of a view: sealed ones, and the tails where new codes arrive.

`died` holds for each slot of a sealed part, and for each row of a tail, the generation at which it ceased to be. A view
of generation g sees what died above g, so that an update, which kills a listing's codes and adds others, appears whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from engines.similarity._directory import Directory, Ints, ranges
from engines.similarity._flat import BITS, Codes
from engines.similarity._ivf import SealedCodes
from engines.similarity.types import Where

Owner = tuple[str, str]  # listing id, image id
ALIVE = np.iinfo(np.uint32).max
_SPARE = 64  # fetched beyond 2k, so that one pass usually sees past the ties and the dead at the k-th place
_BEYOND = BITS + 1  # farther than any code can be
_ESCALATION = 8  # fetch this many times more when the dead, or those a filter leaves out, crowd out the others
_NARROW = 32  # a filter that admits less than one in so many is answered from its own codes, all of them
_FILTERS = 8  # whose codes a sealed part keeps gathered, the newest; a 32nd of its codes each at most


class Asked(NamedTuple):
    """What one search looks for; `admitted` says of each profile whether it may be found, None: all may."""

    generation: int
    k: int
    where: Where | None
    admitted: npt.NDArray[np.bool_] | None


class Gathered(NamedTuple):
    """All that a narrow filter admits of a part: rows, the slots that they belong to, and codes [rows, 32]."""

    rows: npt.NDArray[np.int64]
    slots: Ints
    codes: Codes


class Found(NamedTuple):
    """Living, admitted rows and their distances, in no order."""

    distances: npt.NDArray[np.int32]
    rows: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Tail:
    """New codes in the order of their coming: the first `count` rows of `codes` uint8 [room, 32], `died` and
    `profiles` uint32 [room], `owners`. The writer appends beyond `count` and never changes what a view can see."""

    codes: Codes
    died: Ints
    profiles: Ints
    owners: list[Owner]
    count: int

    def code(self, row: int) -> bytes:
        """The 32 bytes of a row."""
        return bytes(self.codes[row])

    def owner(self, row: int) -> Owner:
        """Listing and photo of a row."""
        return self.owners[row]

    def closest(self, code: Codes, asked: Asked) -> Found:
        """Every living row with its distance; it is a few thousand rows at most."""
        alive = self.died[: self.count] > asked.generation
        if asked.admitted is not None:
            alive &= asked.admitted[self.profiles[: self.count]]
        rows = np.flatnonzero(alive)
        return Found(distances_to(code, self.codes[rows]), rows)


def distances_to(code: Codes, codes: Codes) -> npt.NDArray[np.int32]:
    """Differing bits between one code [1, 32] and each of [n, 32]."""
    bits = np.bitwise_count(codes.view(np.uint64) ^ code.view(np.uint64))
    return np.asarray(np.add(bits[:, 0], bits[:, 1], dtype=np.int32) + bits[:, 2] + bits[:, 3])  # sum(axis=1): 2.5 ×


@dataclass(eq=False, slots=True)
class Sealed:
    """A sealed part; the writer sets `died` of a slot once."""

    directory: Directory
    codes: SealedCodes
    died: Ints
    file: str | None = None
    """Its file among the snapshot's, once it is written."""
    _gathered: dict[Where, Gathered | int] = field(default_factory=dict)

    def bury(self, listing_ids: Iterable[str]) -> None:
        """Mark those of them that it holds as dead of old, before anybody reads it."""
        for listing_id in listing_ids:
            slot = self.directory.find(listing_id)
            if slot >= 0:
                self.died[slot] = 0

    def code(self, row: int) -> bytes:
        """The 32 bytes of a row."""
        return bytes(self.codes.take(np.array([row]))[0])

    def owner(self, row: int) -> Owner:
        """Listing and photo of a row."""
        slot = self.directory.slot_of(row)
        listing_id, image_ids = self.directory.ids(slot)
        return listing_id, image_ids[row - self.directory.rows_of(slot).start]

    @property
    def nbytes(self) -> int:
        """Bytes of codes, columns and marks."""
        return self.directory.nbytes + self.codes.nbytes + self.died.nbytes

    def closest(self, hashes: Codes, asked: Asked) -> list[Found]:
        """For each hash, living admitted rows among which are its k nearest here and all ties of the k-th."""
        widen = 1
        if asked.where is not None and asked.admitted is not None:
            own = self.prepare(asked.where, asked.admitted)
            if isinstance(own, Gathered):
                good = self.died[own.slots] > asked.generation
                rows = own.rows[good]
                return [Found(distances_to(hashes[i : i + 1], own.codes)[good], rows) for i in range(len(hashes))]
            widen = own
        fetch = min(len(self.codes), (2 * asked.k + _SPARE) * widen)
        if not fetch:
            return [Found(np.empty(0, np.int32), np.empty(0, np.int64))] * len(hashes)
        distances, rows = self.codes.search(hashes, fetch)
        return [self._finish(hashes[i : i + 1], asked, distances[i], rows[i]) for i in range(len(hashes))]

    def within(self, code: Codes, bits: int, asked: Asked) -> Found:
        """Every living admitted row at most so many bits from one hash [1, 32]."""
        return self._living(*self.codes.within(code, bits), asked)

    def _finish(
        self, code: Codes, asked: Asked, distances: npt.NDArray[np.int32], rows: npt.NDArray[np.int64]
    ) -> Found:
        """Finish one hash, given its nearest rows, dead ones among them.

        Rows nearer than the farthest fetched are all there; of those as far as it, FAISS may have left some out. So
        the answer is complete once the k-th living row is nearer than the horizon; else its ties are fetched.
        """
        while True:
            fetched = len(rows)
            distances, rows = distances[rows >= 0], rows[rows >= 0]
            complete = len(rows) < fetched or fetched == len(self.codes)
            horizon = _BEYOND if complete else int(distances[-1])
            found = self._living(distances, rows, asked)
            if complete or np.count_nonzero(found.distances < horizon) >= asked.k:
                return found
            if len(found.distances) >= asked.k:
                farthest = int(np.partition(found.distances, asked.k - 1)[asked.k - 1])
                return self.within(code, farthest, asked)
            more, those = self.codes.search(code, min(len(self.codes), _ESCALATION * fetched))
            distances, rows = more[0], those[0]

    def _living(self, distances: npt.NDArray[np.int32], rows: npt.NDArray[np.int64], asked: Asked) -> Found:
        slots = self.directory.slots_of(rows)
        good = self.died[slots] > asked.generation
        if asked.admitted is not None:
            good &= asked.admitted[self.directory.profiles[slots]]
        return Found(distances[good], rows[good])

    @property
    def filters(self) -> list[Where]:
        """Those that it knows the answer to."""
        return list(self._gathered)

    def prepare(self, where: Where, admitted: npt.NDArray[np.bool_]) -> Gathered | int:
        """The rows and codes that a narrow filter admits; of a wide one, how many rows there are to one of them."""
        known = self._gathered.get(where)
        if known is None:
            slots = np.flatnonzero(admitted[self.directory.profiles])
            first = self.directory.first_rows
            counts = first[slots + 1] - first[slots]
            total = int(counts.sum())
            if total * _NARROW <= len(self.codes):
                rows = ranges(first[slots], counts).astype(np.int64)
                known = Gathered(rows, np.repeat(slots, counts), self.codes.take(rows))
            else:
                known = -(-len(self.codes) // total)
            kept = list(self._gathered.items())[1 - _FILTERS :]  # a new dictionary: other readers keep theirs
            self._gathered = dict([*kept, (where, known)])
        return known
