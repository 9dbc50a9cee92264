"""Groups searches whose hashes are alike: each group has a centre, and all its members are near the centre.

The densest centre comes first: of the searches that have no group yet, the one with the most of them within the radius
takes them all. A chain of searches, each near the next, is therefore not one group.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MOST = 20_000
"""Searches that are grouped at once: their distances are compared pair by pair, which takes seconds."""
_AT_ONCE = 512


def group_hashes(hashes: Sequence[str], radius: int) -> list[list[int]]:
    """Group hashes of 64 hex digits.

    Args:
        hashes: of one epoch, at most `MOST`.
        radius: bits in which a member may differ from the centre.

    Returns:
        The groups, the largest first, each as places in `hashes` with the centre first. Each place is in one group.

    Raises:
        ValueError: there are more than `MOST`.
    """
    if len(hashes) > MOST:
        raise ValueError(f"{len(hashes)} hashes; at most {MOST} can be grouped at once")
    if not hashes:
        return []
    near = _near(np.array([list(bytes.fromhex(one)) for one in hashes], np.uint8), radius)
    count = len(hashes)
    alone = np.ones(count, bool)
    degrees = np.array([_row(near, place, count).sum() for place in range(count)])
    groups = []
    while alone.any():
        centre = int(np.argmax(np.where(alone, degrees, -1)))
        members = _row(near, centre, count) & alone
        members[centre] = False
        found = [centre, *np.flatnonzero(members).tolist()]
        groups.append(found)
        alone[found] = False
        for place in found:
            degrees -= _row(near, place, count)
    return groups


def _near(codes: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    """uint8 [n, ⌈n / 8⌉]: bit j of row i says whether i and j differ in at most `radius` bits."""
    words = codes.view(np.uint64)
    rows = []
    for start in range(0, len(words), _AT_ONCE):
        apart = np.zeros((len(words[start : start + _AT_ONCE]), len(words)), np.uint16)
        for column in range(words.shape[1]):
            apart += np.bitwise_count(words[start : start + _AT_ONCE, column, None] ^ words[None, :, column])
        rows.append(np.packbits(apart <= radius, axis=1))
    return np.concatenate(rows)


def _row(near: NDArray[np.uint8], place: int, count: int) -> NDArray[np.bool_]:
    return np.unpackbits(near[place], count=count).view(np.bool_)
