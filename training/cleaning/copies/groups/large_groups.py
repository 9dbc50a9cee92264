"""The marks of one large group, whose photos cannot all be compared with each other.

A photo is compared only with those that found it or one of its twins. So the time grows with the pairs, and not with
the square of the group. That leaves several photos of one picture, because not all of its copies found each other. So
the photos that stayed are compared again: each with the few others whose copies found most of its own copies. Where one
is left out, this is repeated a few times, because its copies may have found those of a third. Their hashes have to be
near as well, since likeness alone takes two pictures with the same frame for copies.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from training.cleaning.copies.alignment import likeness
from training.cleaning.copies.fingerprints import Fingerprints
from training.cleaning.copies.groups.links import NOBODY_SAID, Links, Places
from training.cleaning.copies.hashes import picture_distances
from training.cleaning.copies.large_arrays import ranks
from training.cleaning.copies.marking import Marker, Scored
from training.cleaning.copies.near_pairs import warped_distances
from training.cleaning.marks import Mark

_AT_ONCE = 64  # photos that are compared with one at once
_READ = 1024  # small pictures that are read at once: 1 MB
_NOBODY = -1
_ROUNDS = 8  # of comparing photos that stayed
_NEARER = 7 / 8  # of the largest distance of two hashes; likeness under any warp proves less than under the nearest two
_RIVALS = 4  # others that a photo which stayed is compared with


class LargeGroup:
    """Which photos of a large group stay, and which are left out for which of these."""

    def __init__(self, links: Links, prints: Fingerprints, marker: Marker, *, bits: int, least: float) -> None:
        """Decide about the photos of `links`.

        Args:
            links: the photos and what found what.
            prints: the fingerprints of all photos.
            marker: ranks photos and makes marks.
            bits: the largest distance of two hashes. Those of photos that stay at first must be a bit nearer.
            least: the least likeness of two copies.
        """
        self._links, self._prints, self._marker, self._least = links, prints, marker, least
        self._nearer = _NEARER * bits
        self._order, self._scores = marker.best_first(links.members)
        count = len(links.members)
        self._turn = np.empty(count, np.int64)
        self._turn[self._order] = np.arange(count)
        self._kept = np.full(count, _NOBODY, np.int64)  # the place of the photo that each is left out for
        self._alike = np.zeros(count, np.float32)
        self._equal = np.zeros(count, np.bool_)

    def marks(self) -> Iterator[Mark]:
        """Decide, the best photos first, and make the marks."""
        self._leave_out_all(self._order)
        compared = np.empty(0, np.int64)
        for _ in range(_ROUNDS):
            now = self._compare_kept(np.setdiff1d(self._rivals(), compared))
            if not len(now):
                break
            compared = np.union1d(compared, now)
        return self._marks()

    def _compare_kept(self, rivals: Places) -> Places:
        """Leave out photos that stayed for better ones that stayed, and compare their copies with these. A copy that is
        not like the better photo belongs to nobody then, and is compared anew.

        Args:
            rivals: as of `_rivals`.

        Returns:
            Those of them that were compared, int64 [m]: both photos still stayed.
        """
        better, worse = (self._order[turn] for turn in np.divmod(rivals, len(self._order)))
        begin = np.flatnonzero(np.diff(better, prepend=-1))
        freed, compared = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for best, others in zip(better[begin].tolist(), np.split(worse, begin[1:]), strict=False):
            if self._kept[best] != _NOBODY:
                continue
            stay = others[self._kept[others] == _NOBODY]
            compared.append(self._turn[best] * len(self._order) + self._turn[stay])
            small = self._small(stay)
            stay = stay[warped_distances(np.broadcast_to(self._small([best]), small.shape), small) <= self._nearer]
            alike = self._likeness(best, stay)
            self._leave_out(best, stay, alike, np.zeros(len(stay), np.bool_))
            for rival in stay[alike >= self._least].tolist():
                copies = np.flatnonzero(self._kept == rival)
                self._kept[copies] = _NOBODY
                for start in range(0, len(copies), _READ):
                    some = copies[start : start + _READ]
                    self._leave_out(best, some, self._likeness(best, some), self._same_bytes(best, some))
                freed.append(copies[self._kept[copies] == _NOBODY])
        left = np.concatenate(freed)
        self._leave_out_all(left[np.argsort(self._turn[left])])
        return np.concatenate(compared)

    def _rivals(self) -> Places:
        """Pairs of photos that stayed: the turn of the better one times the number of photos, plus that of the other,
        int64 [n] in order. Two are rivals if one is among the few of the other whose copies found each other most
        often."""
        stays = np.where(self._kept == _NOBODY, np.arange(len(self._kept)), self._kept)
        one, other = (self._turn[stays[side]] for side in self._links.pairs())
        differ = one != other
        one, other = one[differ], other[differ]
        keys, often = np.unique(np.minimum(one, other) * len(stays) + np.maximum(one, other), return_counts=True)
        chosen = np.zeros(len(keys), np.bool_)
        for side in np.divmod(keys, len(stays)):
            order = np.lexsort((-often, side))
            chosen[order[ranks(side[order]) < _RIVALS]] = True
        return keys[chosen]

    def _leave_out_all(self, photos: Places) -> None:
        """Let each of these photos that nobody left out leave out others, but none that others are left out for."""
        has_copies = np.zeros(len(self._kept), np.bool_)
        has_copies[self._kept[self._kept != _NOBODY]] = True
        for best in photos.tolist():
            if self._kept[best] == _NOBODY:
                self._leave_out_linked(best, has_copies)

    def _leave_out_linked(self, best: int, has_copies: NDArray[np.bool_]) -> None:
        """Leave out the photos for this one that are linked to it and like it, among those that come after it."""
        near = self._links.near(best)
        near = near[(self._turn[near] > self._turn[best]) & (self._kept[near] == _NOBODY) & ~has_copies[near]]
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
        own = self._prints.values("sha256", self._links.members[[best]])
        starts = range(0, len(others), _READ)
        parts = [self._prints.values("sha256", self._links.members[others[start : start + _READ]]) for start in starts]
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
            apart = picture_distances(self._small(kept), self._small(some))
            for photo, best, bits in zip(some.tolist(), kept.tolist(), apart.tolist(), strict=True):
                why = {"likeness": round(float(self._alike[photo]), 3), "bits": bits}
                yield self._marker.mark(self._scored(photo), self._scored(best), None if self._equal[photo] else why)

    def _small(self, places: Places | list[int]) -> NDArray[np.uint8]:
        return self._prints.small(self._links.members[places])

    def _scored(self, place: int) -> Scored:
        return Scored(int(self._links.members[place]), float(self._scores[place]))
