"""How much a listing looks like a photo, as one number that falls with the order of the answer.

1: nothing differs. 0: no more alike than chance makes two photos, of which half of the bits differ. If the photo's
margins are known (its bits before rounding), the likeness is the cosine between them and the listing's margins. Where
the store has no margins of the listing, its hash gives an estimate of this cosine, in which a bit that differs counts
as much as the photo was sure of it: 1 - 2 · Σ |margin| of the bits that differ / Σ |margin|. For margins that are
jointly normal this is the cosine in the mean. If only hashes are known, each bit counts the same.
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


def estimated_cosines(apart: NDArray[np.float32], margins: NDArray[np.float32]) -> NDArray[np.float64]:
    """The estimated cosine between a photo's margins and those of listings whose hash alone is known, float64 [n].

    Args:
        apart: float32 [n], the asymmetric distance of each listing.
        margins: float32 [bits], of the photo.
    """
    whole = max(float(np.abs(margins).sum()), 1e-12)
    alike: NDArray[np.float64] = 1.0 - 2.0 * apart.astype(np.float64) / whole
    return alike


def by_cosines(cosines: NDArray[np.float64]) -> list[float]:
    """The likeness of listings whose margins have these cosines with the photo's, float64 [n], known or estimated."""
    alike: list[float] = np.round(np.clip(cosines, 0.0, 1.0), _DIGITS).tolist()
    return alike


def falling(values: Sequence[float]) -> list[float]:
    """The values in the order of the answer, none above the one before it. Only listings whose hash the store does not
    know, and re-ranked ones, are lowered."""
    return list(accumulate(values, min))
