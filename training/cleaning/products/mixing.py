"""Are the photos of two labels mixed, or are they two sets? Three measures of squared distances between unit vectors.

The gap is the mean distance across minus the mean distance within, as a share of the former. It is the energy distance
(Székely and Rizzo, *Energy statistics*, 2013, section 2) of the two sets of embeddings, and is 0 on average for two
halves of one product, however its photos vary.

Of a few photos, a gap is often large or small by chance. So two more measures are taken. The chance is that of an exact
permutation test: the share of the other divisions of the same photos into two labels that are as far apart. The steady
gap takes the mean distance within from both labels together, and adds the spread that labels usually have, with the
weight of a few pairs. So two photos that happen to be very alike, or very different, do not decide.
"""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
MOST_DIVISIONS = 3000  # that are compared: all of 13 photos, and of more photos if one label has few of them
TYPICAL_PAIRS = 3  # pairs of photos that the usual spread counts for
_ENOUGH = 3  # photos of a label that say how labels usually spread
_EQUAL = 1e-9  # mean distances that differ by less are equal


def gap(left: Floats, right: Floats) -> float:
    """How far two sets of photos are apart, as a share of the mean distance across: 0 if they are mixed, 1 if each
    set is a point of its own. Chance makes it negative at times.

    Args:
        left: float32 [n, d], unit rows.
        right: float32 [m, d], unit rows.

    Two single photos have a gap of 0, because nothing is known about the spread of their products.
    """
    across = _across(left, right)
    within = [_apart(one) / _pairs(one) for one in (left, right) if len(one) > 1]
    return (across - sum(within) / len(within)) / across if within and across > 0 else 0.0


def steady_gap(left: Floats, right: Floats, typical: float) -> float:
    """The gap with one distance within: the mean of all pairs of both labels, and of `TYPICAL_PAIRS` more that are
    `typical`, which is what `typical_spread` gives. Arguments otherwise as of `gap`."""
    across = _across(left, right)
    apart = _apart(left) + _apart(right) + TYPICAL_PAIRS * typical
    return 1 - apart / (_pairs(left) + _pairs(right) + TYPICAL_PAIRS) / across if across > 0 else 0.0


def chance(left: Floats, right: Floats) -> float:
    """The share of the other divisions of these photos, into labels as large, whose mean distance across is as large.

    It is about one half if the photos were given to the labels by chance, and 0 if no other division is as far apart.
    It is 1 if there is no other division, and 0 if there are more than `MOST_DIVISIONS`: so many photos have a gap that
    chance hardly changes. Arguments as of `gap`.
    """
    small, large = sorted((left, right), key=len)
    count, photos = len(small), len(small) + len(large)
    if comb(photos, count) > MOST_DIVISIONS:
        return 0.0
    vectors = np.concatenate([small, large]).astype(np.float64)
    cosines = vectors @ vectors.T
    places = np.array(list(combinations(range(photos), count)))
    one = np.zeros((len(places), photos))
    one[np.arange(len(places))[:, None], places] = 1
    across = ((one @ cosines) * (1 - one)).sum(1)  # the first division is the labels' own
    same = 2 if 2 * count == photos else 1  # of equal labels, each division is there twice
    others = len(places) - same
    as_far = int((across <= across[0] + _EQUAL * count * (photos - count)).sum()) - same
    return as_far / others if others else 1.0


def typical_spread(vectors: Floats, truth: NDArray[np.int64]) -> float:
    """The median over labels of the mean distance of two photos of a label.

    Args:
        vectors: float32 [n, d], unit rows.
        truth: int64 [n], the label of each photo, from 0.

    Labels with fewer than three photos do not count, if there are any others.
    """
    order = np.argsort(truth, kind="stable")
    counts = np.bincount(truth)
    counts = counts[counts > 0]
    totals = np.add.reduceat(vectors[order].astype(np.float64), np.cumsum(counts) - counts)
    some = counts >= (_ENOUGH if counts.max() >= _ENOUGH else 2)
    if not some.any():
        return 0.0
    lengths = np.square(totals[some]).sum(1)
    return float(np.median(2 - 2 * (lengths - counts[some]) / (counts[some] * (counts[some] - 1))))


def _across(left: Floats, right: Floats) -> float:
    """The mean distance between a photo of one set and a photo of the other."""
    return 2 - 2 * float(left.sum(0) @ right.sum(0)) / (len(left) * len(right))


def _pairs(vectors: Floats) -> int:
    return comb(len(vectors), 2)


def _apart(vectors: Floats) -> float:
    """The sum of the distances between two photos of a set, over all pairs."""
    total, count = vectors.sum(0), len(vectors)
    return 2 * _pairs(vectors) - (float(total @ total) - count) if count > 1 else 0.0
