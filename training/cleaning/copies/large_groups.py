"""The marks of one large group, whose photos cannot all be compared with each other.

A photo is compared only with those that found it or one of its twins. So the time grows with the pairs, and not with
the square of the group.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from training.cleaning.copies.alignment import likeness
from training.cleaning.copies.fingerprints import Fingerprints
from training.cleaning.copies.hashes import distances, p_hash
from training.cleaning.copies.links import NOBODY_SAID, Links, Places
from training.cleaning.copies.marking import Marker, Scored
from training.cleaning.marks import Mark

_AT_ONCE = 64  # photos that are compared with one at once
_READ = 1024  # small pictures that are read at once: 1 MB
_NOBODY = -1


class LargeGroup:
    """Which photos of a large group stay, and which are left out for which of these."""

    def __init__(self, links: Links, prints: Fingerprints, marker: Marker, least: float) -> None:
        """Of the photos of `links`. `least` is the least likeness of two copies."""
        self._links, self._prints, self._marker, self._least = links, prints, marker, least
        self._order, self._scores = marker.best_first(links.members)
        count = len(links.members)
        self._turn = np.empty(count, np.int64)
        self._turn[self._order] = np.arange(count)
        self._kept = np.full(count, _NOBODY, np.int64)  # the place of the photo that each is left out for
        self._alike = np.zeros(count, np.float32)
        self._equal = np.zeros(count, np.bool_)

    def marks(self) -> Iterator[Mark]:
        """Decide, the best photos first, and make the marks."""
        for best in self._order.tolist():
            if self._kept[best] == _NOBODY:
                self._leave_out_linked(best)
        return self._marks()

    def _leave_out_linked(self, best: int) -> None:
        """Leave out the photos for this one that are linked to it and like it, among those that come after it."""
        near = self._links.near(best)
        near = near[(self._turn[near] > self._turn[best]) & (self._kept[near] == _NOBODY)]
        if not len(near):
            return
        equal = self._same_bytes(best, near)
        alike = self._links.likeness(best, near)
        ask = np.flatnonzero((alike == NOBODY_SAID) & ~equal)
        for some in np.split(ask, range(_AT_ONCE, len(ask), _AT_ONCE)):
            alike[some] = self._likeness(best, near[some])
            if not (alike[some] >= self._least).any():
                break  # else thousands of different pictures with one hash would take the square of their number
        self._leave_out(best, near, alike, equal)

    def _leave_out(self, best: int, others: Places, alike: NDArray[np.float32], equal: NDArray[np.bool_]) -> None:
        some = equal | (alike >= self._least)
        left = others[some]
        self._kept[left], self._alike[left], self._equal[left] = best, alike[some], equal[some]

    def _same_bytes(self, best: int, others: Places) -> NDArray[np.bool_]:
        """Whether the bytes of each photo are those of the best one, bool [n]."""
        own = self._prints.sha256(self._links.members[[best]])
        starts = range(0, len(others), _READ)
        parts = [self._prints.sha256(self._links.members[others[start : start + _READ]]) for start in starts]
        return np.concatenate([(part == own).all(1) for part in parts])

    def _likeness(self, best: int, others: Places) -> NDArray[np.float32]:
        """The likeness of a photo and a few others, float32 [n]. Equal small pictures need no comparison."""
        right = self._small(others)
        left = np.broadcast_to(self._small([best]), right.shape)
        alike = np.ones(len(others), np.float32)
        differ = (left != right).any((1, 2))
        alike[differ] = likeness(left[differ], right[differ])
        return alike

    def _marks(self) -> Iterator[Mark]:
        left_out = self._order[self._kept[self._order] != _NOBODY]
        for start in range(0, len(left_out), _READ):
            some = left_out[start : start + _READ]
            kept = self._kept[some]
            apart = distances(p_hash(self._small(kept)), p_hash(self._small(some)))
            for photo, best, bits in zip(some.tolist(), kept.tolist(), apart.tolist(), strict=True):
                why = {"likeness": round(float(self._alike[photo]), 3), "bits": bits}
                yield self._marker.mark(self._scored(photo), self._scored(best), None if self._equal[photo] else why)

    def _small(self, places: Places | list[int]) -> NDArray[np.uint8]:
        return self._prints.small(self._links.members[places])

    def _scored(self, place: int) -> Scored:
        return Scored(int(self._links.members[place]), float(self._scores[place]))
