"""The parts of a view: sealed parts, and tails where new codes arrive.

`died` has the generation in which a slot of a sealed part, or a row of a tail, was deleted. A view of generation g sees
whatever has a `died` above g. An update deletes a listing's codes and adds others in one generation, so it appears
whole.
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

Owner = tuple[str, str]  # listing id, photo id
ALIVE = np.iinfo(np.uint32).max
_SPARE = 64  # fetched in addition to 2k, so that one pass usually gets past ties and dead codes at the k-th place
_BEYOND = BITS + 1  # larger than any distance
_ESCALATION = 8  # fetch this many times more when dead or filtered codes take the places of others
_NARROW = 32  # a filter that admits less than one in so many is answered by comparing all admitted codes
_FILTERS = 8  # the newest filters whose codes a sealed part keeps, each at most a 32nd of its codes


class Asked(NamedTuple):
    """One search. `admitted` says for each profile whether it may be found; None admits all."""

    generation: int
    k: int
    where: Where | None
    admitted: npt.NDArray[np.bool_] | None


class Gathered(NamedTuple):
    """Everything in a part that a narrow filter admits: rows, their slots, and codes uint8 [rows, 32]."""

    rows: npt.NDArray[np.int64]
    slots: Ints
    codes: Codes


class Found(NamedTuple):
    """Admitted rows that are alive, and their distances, in no order."""

    distances: npt.NDArray[np.int32]
    rows: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Tail:
    """New codes in the order of arrival: the first `count` rows of the arrays.

    The writer appends after `count` and never changes what a view can see.

    Attributes:
        codes: uint8 [room, 32].
        died: uint32 [room].
        profiles: uint32 [room].
        owners: listing and photo of each row.
        count: rows that belong to this view.
    """

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
        """Return every row that is alive and admitted: its distance to `code`, uint8 [1, 32], as int32 [n] in bits, and
        its number as int64 [n]. A tail has a few thousand rows at most."""
        alive = self.died[: self.count] > asked.generation
        if asked.admitted is not None:
            alive &= asked.admitted[self.profiles[: self.count]]
        rows = np.flatnonzero(alive)
        return Found(distances_to(code, self.codes[rows]), rows)


def distances_to(code: Codes, codes: Codes) -> npt.NDArray[np.int32]:
    """Return int32 [n]: differing bits between one code uint8 [1, 32] and each of [n, 32]."""
    bits = np.bitwise_count(codes.view(np.uint64) ^ code.view(np.uint64))
    # Four additions: sum(axis=1) takes 2.5 times as long.
    return np.asarray(np.add(bits[:, 0], bits[:, 1], dtype=np.int32) + bits[:, 2] + bits[:, 3])


@dataclass(eq=False, slots=True)
class Sealed:
    """A sealed part. It never changes, except that the writer sets `died` of a slot once."""

    directory: Directory
    codes: SealedCodes
    died: Ints
    file: str | None = None
    """The name of its file in the snapshot's folder, once it is written."""
    _gathered: dict[Where, Gathered | int] = field(default_factory=dict)

    def mark_deleted(self, listing_ids: Iterable[str]) -> None:
        """Mark listings as deleted before any view, if this part holds them. No reader may use the part yet."""
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
        """The size in bytes of codes, columns and `died`."""
        return self.directory.nbytes + self.codes.nbytes + self.died.nbytes

    def closest(self, hashes: Codes, asked: Asked) -> list[Found]:
        """Return, for each of `hashes`, uint8 [q, 32], rows that are alive and admitted: distances int32 [n] in bits
        and rows int64 [n]. Its k nearest and all ties of the k-th are among them."""
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
        """Return every row that is alive, admitted, and within `bits` bits of one hash uint8 [1, 32]."""
        return self._living(*self.codes.within(code, bits), asked)

    def _finish(
        self, code: Codes, asked: Asked, distances: npt.NDArray[np.int32], rows: npt.NDArray[np.int64]
    ) -> Found:
        """Complete one hash's answer, given its nearest rows, some of which are dead.

        All rows nearer than the farthest fetched row are there, but FAISS may have left out rows at that distance. So
        the answer is complete if the k-th living row is nearer than that horizon. Otherwise its ties are fetched.
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
        """The filters whose answer this part has kept."""
        return list(self._gathered)

    def prepare(self, where: Where, admitted: npt.NDArray[np.bool_]) -> Gathered | int:
        """Return the rows and codes that a narrow filter admits. For a wide filter, return how many rows there are for
        each admitted row. `admitted` bool [profiles] says which profiles the filter admits."""
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
            kept = list(self._gathered.items())[1 - _FILTERS :]  # a new dictionary: other readers use the old one
            self._gathered = dict([*kept, (where, known)])
        return known
