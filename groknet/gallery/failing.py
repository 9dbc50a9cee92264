"""Where searches fail: groups of searches without an answer, and categories ranked by how much they fail."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from groknet.gallery.clusters import MOST, group_hashes
from workers.search.kept.ledger import KeptSearch

UNKNOWN = "(no category)"
_Z = 1.645  # of a one-sided bound of 95 %


@dataclass(frozen=True, slots=True)
class Wanted:
    """A group of searches that look alike.

    Attributes:
        centre: the search in its middle.
        members: all of them, the centre first.
        searches, failed: how many there are, and how many of them found nothing close.
        category: the most frequent best category of its members; None if none has one.
        likeness: the median likeness of the nearest listing.
        missed: the score that orders groups: failed searches that are sure, see `sure_failures`.
    """

    centre: KeptSearch
    members: tuple[KeptSearch, ...]
    searches: int
    failed: int
    category: str | None
    likeness: float
    missed: float


@dataclass(frozen=True, slots=True)
class CategoryFailures:
    """How often searches of a category find nothing close. `listings` in the store; None if it was not asked."""

    category: str
    searches: int
    failed: int
    missed: float
    listings: int | None = None


def sure_failures(failed: int, searches: int) -> float:
    """How many of `searches` fail at least, at 95 %: the lower bound of Wilson's interval for the share (Wilson 1927),
    times the number of searches. One failure of one search is hardly evidence; 20 of 20 are."""
    if searches == 0:
        return 0.0
    share, z = failed / searches, _Z
    middle = share + z * z / (2 * searches)
    spread = z * math.sqrt(share * (1 - share) / searches + z * z / (4 * searches * searches))
    return max(0.0, (middle - spread) / (1 + z * z / searches)) * searches


def newest(searches: Iterable[KeptSearch], epoch: str, most: int = MOST) -> tuple[list[KeptSearch], int]:
    """The newest `most` searches of an epoch, and how many older ones are left out. Hashes of two epochs cannot be
    compared."""
    found = [one for one in searches if one.epoch == epoch]
    return found[-most:], max(0, len(found) - most)


def groups(searches: Sequence[KeptSearch], radius: int) -> list[Wanted]:
    """The groups of searches, the one that misses most first."""
    found = []
    for places in group_hashes([one.hash for one in searches], radius):
        members = tuple(searches[place] for place in places)
        failed = sum(not one.close for one in members)
        named = Counter(one.category for one in members if one.category)
        found.append(
            Wanted(
                centre=members[0],
                members=members,
                searches=len(members),
                failed=failed,
                category=min(named, key=lambda name: (-named[name], name), default=None),
                likeness=median(one.likeness for one in members),
                missed=sure_failures(failed, len(members)),
            )
        )
    return sorted(found, key=lambda one: (-one.missed, -one.failed, one.centre.hash))


def categories(searches: Sequence[KeptSearch], listings: Counter[str] | None = None) -> list[CategoryFailures]:
    """The categories, the one that misses most first; those of `listings` that nobody searched come last."""
    asked = Counter(one.category or UNKNOWN for one in searches)
    failed = Counter(one.category or UNKNOWN for one in searches if not one.close)
    names = set(asked) | set(listings or ())
    rows = [
        CategoryFailures(
            category=name,
            searches=asked[name],
            failed=failed[name],
            missed=sure_failures(failed[name], asked[name]),
            listings=None if listings is None else listings[name],
        )
        for name in names
    ]
    return sorted(rows, key=lambda row: (-row.missed, -row.failed, -row.searches, row.category))
