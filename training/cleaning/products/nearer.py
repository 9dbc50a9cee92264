"""Photos that lie within the radius of their product, but nearer to another one: wrong photos of a similar product.

A radius cannot find them, because a similar product is no farther away than an unusual photo of the right one. So each
photo is compared with the photos of other products, too. Its likeness to a product is the mean cosine to the two
photos of it that are most alike, so that one wrong photo there does not decide.

Two labels of one product are mixed: many photos of each are nearer to the other label. Such a pair of labels tells
nothing about a photo, and is left to the merging of labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Places = NDArray[np.int64]
PHOTOS = 2  # of a product whose likeness counts
LEAST_CORE = 3  # photos of a label, with fewer of which nothing is said about it
_SHORTLIST = 8  # labels whose mean is nearest to a photo; the others are not looked at
_AT_ONCE = 1024  # photos that are compared at once with the means of all labels, or with one label


@dataclass(frozen=True)
class Nearer:
    """Photos that are nearer to another label.

    Attributes:
        photos: their places, int64 [n], in order.
        others: the label of each that it is nearer to, int64 [n], as a place in the list of labels.
        by: how much nearer, a difference of two cosines, float32 [n].
    """

    photos: Places
    others: Places
    by: Floats


@dataclass(frozen=True)
class Elsewhere:
    """How alike photos are to labels other than their own.

    Attributes:
        photos: their places, int64 [n].
        labels: of each the other labels that it was compared with, int64 [n, k], as places in the list of labels.
        alike: its likeness to these, float32 [n, k]; -1 for a label that is mixed with its own.
        own: its likeness to its own label, float32 [n].
    """

    photos: Places
    labels: Places
    alike: Floats
    own: Floats


def nearer_elsewhere(vectors: Floats, cores: Sequence[Places], *, least: float, most_mixed: float) -> Nearer:
    """The photos that are nearer to another label by `least` or more. `least` is a difference of two cosines; the other
    arguments are those of `elsewhere`."""
    if sum(len(core) >= LEAST_CORE for core in cores) < 2:
        return Nearer(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    seen = elsewhere(vectors, cores, most_mixed)
    best = seen.alike.argmax(1)[:, None]
    by = np.take_along_axis(seen.alike, best, 1)[:, 0] - seen.own
    found = np.flatnonzero(by >= least)
    found = found[np.argsort(seen.photos[found])]
    return Nearer(seen.photos[found], np.take_along_axis(seen.labels, best, 1)[:, 0][found], by[found])


def elsewhere(vectors: Floats, cores: Sequence[Places], most_mixed: float) -> Elsewhere:
    """Compare all photos of labels that have `LEAST_CORE` or more with the other labels that have as many.

    Args:
        vectors: float32 [n, d], unit rows.
        cores: for each label the places of the photos that are thought to be right. No photo has two labels, and two
            labels or more have enough photos.
        most_mixed: pairs of labels tell nothing if a larger share of the photos of one is nearer to the other.
    """
    judged = np.array([label for label, core in enumerate(cores) if len(core) >= LEAST_CORE], np.int64)
    photos = np.concatenate([cores[label] for label in judged])
    owner = np.repeat(judged, [len(cores[label]) for label in judged])
    means = np.stack([vectors[cores[label]].mean(0) for label in judged])
    own_places = np.repeat(np.arange(len(judged)), np.bincount(owner)[judged])
    others = judged[shortlists(vectors[photos], means, own_places)]
    own = likeness(vectors, cores, photos, owner)
    count = others.shape[1]
    alike = likeness(vectors, cores, np.repeat(photos, count), others.ravel()).reshape(-1, count)
    alike[_mixed(owner, others, alike > own[:, None], len(cores)) > most_mixed] = -1
    return Elsewhere(photos, others, alike, own)


def shortlists(vectors: Floats, means: Floats, own: Places | None = None) -> Places:
    """The labels whose mean is nearest to each photo, without its `own`, int64 [n, shortlist] in no order."""
    count = min(_SHORTLIST, len(means) - (own is not None))
    made = np.empty((len(vectors), count), np.int64)
    for start in range(0, len(vectors), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        cosines = vectors[part] @ means.T
        if own is not None:
            cosines[np.arange(len(cosines)), own[part]] = -np.inf
        made[part] = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
    return made


def likeness(vectors: Floats, cores: Sequence[Places], photos: Places, labels: Places, count: int = PHOTOS) -> Floats:
    """The likeness of each photo to the label at its place, without itself, float32 [n]: the mean cosine to the `count`
    photos of the label that are most alike.

    Args:
        vectors: float32 [n, d], unit rows.
        cores: for each label the places of its photos: `LEAST_CORE` or more for each label that is asked for.
        photos: places, int64 [m].
        labels: places in `cores`, int64 [m].
    """
    made = np.empty(len(photos), np.float32)
    order = np.argsort(labels, kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        core = cores[labels[group[0]]]
        theirs = vectors[core].T
        for start in range(0, len(group), _AT_ONCE):
            part = group[start : start + _AT_ONCE]
            cosines = vectors[photos[part]] @ theirs
            cosines[photos[part][:, None] == core] = -1
            made[part] = -np.partition(-cosines, count - 1, axis=1)[:, :count].mean(1)
    return made


def _mixed(owner: Places, others: Places, nearer: NDArray[np.bool_], labels: int) -> Floats:
    """For each photo and label, the share of the photos of its own label that are nearer to that one, or of those of
    that one which are nearer to its own: the larger of the two."""
    keys = owner[:, None] * labels + others
    known, counts = np.unique(keys[nearer], return_counts=True)
    totals = np.maximum(np.bincount(owner, minlength=labels), 1)

    def share(one: Places, other: Places) -> Floats:
        key = one * labels + other
        if not len(known):
            return np.zeros(key.shape, np.float32)
        place = np.minimum(np.searchsorted(known, key), len(known) - 1)
        return np.where(known[place] == key, counts[place] / totals[one], 0).astype(np.float32)

    mine = np.broadcast_to(owner[:, None], others.shape)
    return np.maximum(share(mine, others), share(others, mine))
