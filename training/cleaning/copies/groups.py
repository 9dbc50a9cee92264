"""Groups of photos that may be one picture, and the pairs that joined them.

Photos hang together in chains, so among many similar photos a group can have thousands that are not all alike. Then
nobody can compare each with each; `Links` says which photos of such a group found each other.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from training.cleaning.copies.near_pairs import Pair

Places = NDArray[np.int64]
NOBODY_SAID = np.float32(-2)  # below every likeness
_NO_KEY = np.iinfo(np.int64).max  # comes after the key of every pair


class Groups:
    """Which photos belong together, out of `count`. 8 bytes a photo twice, and 12 bytes a pair."""

    def __init__(self, count: int) -> None:
        self._parent, self._twin = np.arange(count), np.arange(count)
        self._left, self._right, self._alike = array("I"), array("I"), array("f")

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
        self._left.append(pair.left)
        self._right.append(pair.right)
        self._alike.append(pair.likeness)

    def of_several(self) -> Iterator[list[int]]:
        """The groups of two or more, each in order, in the order of their first members. No pair may come later."""
        groups: dict[int, list[int]] = defaultdict(list)
        for place in np.flatnonzero(self._parent != np.arange(len(self._parent))).tolist():
            groups[_root(self._parent, place)].append(place)
        for root in sorted(groups):
            yield [root, *groups[root]]

    def links(self, members: Sequence[int]) -> Links:
        """The pairs within one group of `of_several`."""
        owner, order = self._by_group
        begin, end = np.searchsorted(owner, [members[0], members[0] + 1])
        some = order[begin:end]
        twins = np.array([_root(self._twin, place) for place in members], np.int64)
        left, right, alike = (np.asarray(values)[some] for values in (self._left, self._right, self._alike))
        return Links(np.array(members, np.int64), twins, left, right, alike)

    @cached_property
    def _by_group(self) -> tuple[Places, Places]:
        """The first member of each pair's group, in order, and where that pair is."""
        owners = np.array([_root(self._parent, place) for place in self._left], np.int64)
        order = np.argsort(owners, kind="stable")
        return owners[order], order.astype(np.int64)


class Links:
    """The pairs within a group of n photos. Photos are numbered 0 to n - 1, in the order of `members`.

    Args:
        members: numbers of the group's photos, int64 [n], in order.
        twins: int64 [n], equal for photos with equal bytes or equal hashes.
        left: number of a photo of each pair, [pairs].
        right: number of the other photo, [pairs].
        alike: their likeness, float32 [pairs].
    """

    def __init__(
        self,
        members: Places,
        twins: Places,
        left: NDArray[np.integer],
        right: NDArray[np.integer],
        alike: NDArray[np.floating],
    ) -> None:
        self.members = members
        self._kind = np.unique(twins, return_inverse=True)[1].ravel()
        kinds = int(self._kind.max()) + 1
        one, other = np.searchsorted(members, left), np.searchsorted(members, right)
        self._of_kind = _Lists(self._kind, np.arange(len(members)), kinds)
        first, second = self._kind[one], self._kind[other]
        itself = np.arange(kinds) * (kinds + 1)
        both = np.unique(np.concatenate([first * kinds + second, second * kinds + first, itself]))
        self._near = _Lists(*np.divmod(both, kinds), kinds)
        keys = self._key(one, other)
        order = np.lexsort((-alike, keys))  # the most alike first, because both photos of a pair may have asked
        self._keys, firsts = np.unique(np.append(keys[order], _NO_KEY), return_index=True)
        self._alike = np.append(alike[order], NOBODY_SAID)[firsts]

    def near(self, photo: int) -> Places:
        """The photos that found this one or one of its twins, with all their twins and without itself, int64 [m]."""
        kinds = self._near.of(int(self._kind[photo]))
        found = np.concatenate([self._of_kind.of(kind) for kind in kinds.tolist()])
        return np.asarray(found[found != photo], np.int64)

    def likeness(self, photo: int, others: Places) -> NDArray[np.float32]:
        """The likeness of a photo and others, float32 [m]; `NOBODY_SAID` where the two did not find each other."""
        keys = self._key(np.full(len(others), photo), others)
        places = np.searchsorted(self._keys, keys)
        return np.where(self._keys[places] == keys, self._alike[places], NOBODY_SAID).astype(np.float32)

    def _key(self, one: Places, other: Places) -> Places:
        return np.minimum(one, other) * len(self.members) + np.maximum(one, other)


class _Lists:
    """A list of values for each of `count` owners."""

    def __init__(self, owners: Places, values: Places, count: int) -> None:
        self._values = values[np.argsort(owners, kind="stable")]
        self._ends = np.cumsum(np.bincount(owners, minlength=count))

    def of(self, owner: int) -> Places:
        return self._values[self._ends[owner - 1] if owner else 0 : self._ends[owner]]


def _join(parent: Places, one: int, other: int) -> None:
    a, b = _root(parent, one), _root(parent, other)
    if a != b:
        parent[max(a, b)] = min(a, b)


def _root(parent: Places, place: int) -> int:
    while parent[place] != place:
        parent[place] = parent[parent[place]]
        place = int(parent[place])
    return place
