"""k-reciprocal re-ranking (Zhong, Zheng, Cao and Li, "Re-ranking person re-identification with k-reciprocal
encoding", CVPR 2017) of the nearest photos of one query.

Two photos that have each other among their nearest are likelier the same than two of which only one does. The paper
ranks over all of the gallery; here it is the query and its nearest listings, whose hashes are at hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Distances = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RerankRule:
    """`k1` nearest are looked at for reciprocity, `k2` smooth a photo's encoding, `own` is the share that the distance
    itself keeps (the paper's 20, 6 and 0.3)."""

    k1: int = 20
    k2: int = 6
    own: float = 0.3


RULE = RerankRule()


def hamming(codes: NDArray[np.uint8]) -> Distances:
    """Bits that differ between every two of the packed codes uint8 [n, bytes]: float32 [n, n]."""
    bits: Distances = np.bitwise_count(codes[:, None] ^ codes[None]).sum(2, dtype=np.int32).astype(np.float32)
    return bits


def k_reciprocal(distances: Distances, rule: RerankRule = RULE) -> NDArray[np.float64]:
    """Final distances of photo 0 to every other.

    Args:
        distances: float32 [n, n], symmetric, 0 on the diagonal; row 0 is the query.

    Returns:
        float64 [n - 1] within 0 and 1, (1 - own) · Jaccard distance of the encodings + own · the distance as a share
        of the query's farthest. Ties of the input are ranked by their place.
    """
    scaled = (distances.astype(np.float64) / np.maximum(distances.max(axis=0), 1.0)).T
    order = np.argsort(scaled, axis=1, kind="stable")
    encoded = _encode(scaled, order, rule.k1)
    if rule.k2 > 1:
        encoded = np.stack([encoded[row[: rule.k2]].mean(axis=0) for row in order])
    shared = np.minimum(encoded[:1], encoded[1:]).sum(axis=1)
    jaccard = 1.0 - shared / np.maximum(np.maximum(encoded[:1], encoded[1:]).sum(axis=1), 1e-12)
    final: NDArray[np.float64] = (1.0 - rule.own) * jaccard + rule.own * scaled[0, 1:]
    return final


def _encode(scaled: NDArray[np.float64], order: NDArray[np.intp], k1: int) -> NDArray[np.float64]:
    """Each photo as weights exp(-distance) over its expanded k-reciprocal set, adding up to 1: [n, n]."""
    wide, narrow = _reciprocal(order, k1), _reciprocal(order, round(k1 / 2))
    encoded = np.zeros_like(scaled)
    for photo in range(len(scaled)):
        members = wide[photo].copy()
        for other in np.flatnonzero(wide[photo]):
            if 3 * (narrow[other] & wide[photo]).sum() > 2 * narrow[other].sum():
                members |= narrow[other]
        weights = np.where(members, np.exp(-scaled[photo]), 0.0)
        encoded[photo] = weights / weights.sum()
    return encoded


def _reciprocal(order: NDArray[np.intp], k: int) -> NDArray[np.bool_]:
    """bool [n, n]: whether each of two is among the other's k nearest; itself counts as one more."""
    near = np.zeros(order.shape, np.bool_)
    np.put_along_axis(near, order[:, : k + 1], True, axis=1)
    return near & near.T
