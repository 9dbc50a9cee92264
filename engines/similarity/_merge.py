"""A merge: a frozen tail and some or all sealed parts become one sealed part.

It reads only what no writer changes any more, and `died` as of the freeze. So it can run in any thread, for any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engines.similarity._directory import Directory, Entry, Ints, Moved, build_directory, join
from engines.similarity._flat import Codes
from engines.similarity._ivf import SealedCodes, merge_codes
from engines.similarity._parts import ALIVE, Sealed, Tail
from engines.similarity.types import IndexLimits


@dataclass(frozen=True, slots=True)
class Held:
    """A listing's event time, profile and rows in a tail."""

    event_time: int
    profile: int
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Merge:
    """What is merged: `listings` of the tail, and everything in `sealed` that is alive at `generation`."""

    tail: Tail
    listings: Sequence[tuple[str, Held]]
    sealed: tuple[Sealed, ...]
    generation: int
    whole: bool
    """Whether it merges all sealed parts, so that no code deleted by then is left."""

    def run(self, limits: IndexLimits) -> Sealed:
        """Return the merged part, without dead rows."""
        tail, codes = _of_tail(self.tail, self.listings)
        living = [np.flatnonzero(part.died > self.generation) for part in self.sealed]
        sources: list[tuple[Directory, Ints]] = [
            *((part.directory, slots) for part, slots in zip(self.sealed, living, strict=True)),
            (tail, np.arange(len(tail))),
        ]
        directory, moved = join(sources)
        holders: list[tuple[SealedCodes | Codes, Moved]] = [
            (part.codes, where) for part, where in zip(self.sealed, moved, strict=False)
        ]
        merged = merge_codes([*holders, (codes, moved[-1])], directory.rows, limits)
        return Sealed(directory, merged, np.full(len(directory), ALIVE, np.uint32))


def _of_tail(tail: Tail, listings: Sequence[tuple[str, Held]]) -> tuple[Directory, Codes]:
    entries = [
        Entry(listing_id, held.event_time, held.profile, tuple(tail.owners[row][1] for row in held.rows))
        for listing_id, held in listings
    ]
    directory, order = build_directory(entries)
    rows = [row for i in order for row in listings[i][1].rows]
    return directory, tail.codes[rows]
