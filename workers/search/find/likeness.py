"""How much a listing looks like a photo, as one number that falls with the order of the answer.

1: nothing differs. 0: no more alike than chance makes two photos, of which half of the bits differ. If it is known what
the photo was before its hash was rounded, the likeness is the cosine between both embeddings, without the part that all
photos share. Where the store has no embedding of the listing, its margins or its hash give an estimate of this cosine
(`engines/recognition/outputs/unrounded.py`). If only hashes are known, each bit counts the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

HASH_BITS = 256
_DIGITS = 4


def by_bits(distance: int) -> float:
    """The likeness of two hashes that differ in `distance` bits."""
    return round(max(0.0, 1.0 - 2.0 * distance / HASH_BITS), _DIGITS)


def by_cosines(cosines: NDArray[np.float32]) -> list[float]:
    """The likeness of listings that have these cosines with the photo, float32 [n], known or estimated."""
    alike: list[float] = np.round(np.clip(cosines.astype(np.float64), 0.0, 1.0), _DIGITS).tolist()
    return alike


def falling(values: Sequence[float]) -> list[float]:
    """The values in the order of the answer, none above the one before it. Only listings whose hash the store does not
    know, and re-ranked ones, are lowered."""
    return list(accumulate(values, min))
