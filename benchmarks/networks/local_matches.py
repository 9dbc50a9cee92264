"""How well the places of one photo match those of others: mutual nearest places, their strength, and whether they moved
together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
FIGURES = ("ours", "theirs", "mutual", "strength", "together", "strong together")
NEAR = 0.2  # of the map's side: how far from the median move a match that moved with the others may be


def matches(mine: Floats, weight: Floats, theirs: Floats, their_weights: Floats) -> Floats:
    """Figures of one photo beside k others, `float32 [k, 6]`, in the order of `FIGURES`.

    A place of the photo and a place of another match if each is the other's nearest. `ours` and `theirs` are the mean
    cosine of each place with its nearest, weighed by place. `mutual` is the weight of the photo's places that have a
    match, `strength` their mean cosine. `together` is the share of that weight whose match moved like the median match,
    within `NEAR`, and `strong together` the sum of weight times cosine of these.

    Args:
        mine: unit rows `[places, d]` of a square map, row by row.
        weight: `[places]`, with a sum of 1.
        theirs: unit rows `[k, places, d]`.
        their_weights: `[k, places]`, each row with a sum of 1.
    """
    side = round(len(mine) ** 0.5)
    place = np.stack(np.divmod(np.arange(len(mine)), side), 1).astype(np.float32) / side
    found = np.empty((len(theirs), len(FIGURES)), np.float32)
    for row, (other, other_weight) in enumerate(zip(theirs, their_weights, strict=True)):
        alike = mine @ other.T
        nearest, back = alike.argmax(1), alike.argmax(0)
        best = alike.max(1)
        mutual = back[nearest] == np.arange(len(mine))  # never empty: the best pair of all is mutual
        share, cosine = weight[mutual], best[mutual]
        move = place[nearest[mutual]] - place[mutual]
        kept = np.abs(move - np.median(move, axis=0)).max(1) <= NEAR
        total = max(float(share.sum()), 1e-9)
        found[row] = (
            weight @ best,
            other_weight @ alike.max(0),
            total,
            share @ cosine / total,
            share[kept].sum() / total,
            share[kept] @ cosine[kept],
        )
    return found
