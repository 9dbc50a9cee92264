"""Which photos of one large group found each other, and how alike they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
NOBODY_SAID = np.float32(-2)  # below every likeness
_NO_KEY = np.iinfo(np.int64).max  # comes after the key of every pair


class Links:
    """The pairs within a group of n photos. Photos are numbered 0 to n - 1, in the order of `members`.

    Args:
        members: numbers of the group's photos, int64 [n], in order.
        twins: int [n], equal for photos with equal bytes or equal hashes.
        left: number of a photo of each pair, [pairs].
        right: number of the other photo, [pairs].
        alike: their likeness, float32 [pairs].
    """

    def __init__(
        self,
        members: Places,
        twins: NDArray[np.integer],
        left: NDArray[np.integer],
        right: NDArray[np.integer],
        alike: NDArray[np.floating],
    ) -> None:
        self.members = members
        self._kind = np.unique(twins, return_inverse=True)[1].ravel().astype(np.uint32)
        kinds = int(self._kind.max()) + 1
        self._of_kind = _Lists(np.argsort(self._kind, kind="stable"), np.cumsum(np.bincount(self._kind)))
        keys = self._key(*(np.searchsorted(members, side.astype(np.int64)) for side in (left, right)))
        order = np.lexsort((-alike, keys))  # the most alike first, because both photos of a pair may have asked
        keys, alike = keys[order], alike[order]
        del order
        first = np.diff(keys, prepend=-1) != 0
        self._keys = np.append(keys[first], _NO_KEY)
        self._alike = np.append(alike[first], NOBODY_SAID)
        del keys, alike, first
        self._near = self._neighbours(kinds)

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

    def pairs(self) -> tuple[Places, Places]:
        """The two photos of each pair, int64 [m] twice, each pair once."""
        one, other = np.divmod(self._keys[:-1], len(self.members))
        return one, other

    def _neighbours(self, kinds: int) -> _Lists:
        """For each kind itself and the kinds that are linked to it, in order."""
        one, other = (self._kind[side].astype(np.int64) for side in self.pairs())
        both = np.concatenate([one * kinds + other, other * kinds + one, np.arange(kinds) * (kinds + 1)])
        del one, other
        both.sort()
        both = both[np.diff(both, prepend=-1) != 0]
        ends = np.searchsorted(both, np.arange(1, kinds + 1) * kinds)
        both %= kinds
        return _Lists(both.astype(np.uint32), ends)

    def _key(self, one: Places, other: Places) -> Places:
        return np.minimum(one, other) * len(self.members) + np.maximum(one, other)


class _Lists:
    """A list of values for each owner: all lists one after the other, and where each ends."""

    def __init__(self, values: NDArray[np.integer], ends: Places) -> None:
        self._values, self._ends = values, ends

    def of(self, owner: int) -> NDArray[np.integer]:
        return self._values[self._ends[owner - 1] if owner else 0 : self._ends[owner]]
