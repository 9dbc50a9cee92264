"""How often a classifier takes the photos of one label for those of another: p_ij = c_ij / n_i.

There are two classifiers. One says the label of the nearest other photo. The other is a linear head on embeddings,
fitted by ridge regression to the labels. Each photo is judged by the head that is fitted to all photos but this one,
which ridge regression gives exactly and without fitting it again: with the residual r and the leverage h of a photo,
its answer is y − r / (1 − h) (Hastie, Tibshirani and Friedman, *The Elements of Statistical Learning*, 2nd edition,
section 7.10, equation 7.64).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigError

Floats = NDArray[np.float32]
RIDGE = 1.0  # strength of the penalty, for embeddings of length 1
_AT_ONCE = 4096  # photos whose answers are in memory at once
_ANSWERS = 1 << 24  # answers in memory at once, at most: 128 MB


@dataclass(frozen=True)
class Confusions:
    """Which photos were taken for which label.

    Attributes:
        labels: in order of name.
        truth: the label of each photo, int64 [n], as a place in `labels`.
        said: the label that each photo was taken for, int64 [n].
    """

    labels: list[str]
    truth: NDArray[np.int64]
    said: NDArray[np.int64]

    def pairs(self) -> list[tuple[int, int, int, int]]:
        """Every pair of labels that were confused: i, j, c_ij and n_i, in order of i and j."""
        totals = np.bincount(self.truth, minlength=len(self.labels))
        wrong = self.truth != self.said
        keys, counts = np.unique(self.truth[wrong] * len(self.labels) + self.said[wrong], return_counts=True)
        return [
            (
                int(key) // len(self.labels),
                int(key) % len(self.labels),
                int(count),
                int(totals[key // len(self.labels)]),
            )
            for key, count in zip(keys, counts, strict=True)
        ]


def confusions(vectors: Floats, products: Sequence[str], ridge: float = RIDGE) -> Confusions:
    """Judge every photo by a linear head that was not fitted to it.

    Args:
        vectors: float32 [n, d], unit rows.
        products: n labels, none empty.
        ridge: strength of the penalty.

    Memory grows with d², with n x d, and not with the number of labels times the number of photos.
    """
    from scipy.sparse import csr_array

    labels, truth = np.unique(np.asarray(products, np.str_), return_inverse=True)
    truth = truth.ravel().astype(np.int64)
    design = np.concatenate([vectors.astype(np.float64), np.ones((len(vectors), 1))], axis=1)
    gram = design.T @ design + ridge * np.diag([*np.ones(vectors.shape[1]), 1e-9])  # the constant has no penalty
    inverse = np.linalg.inv(gram)
    targets = csr_array((np.ones(len(truth)), (truth, np.arange(len(truth)))), shape=(len(labels), len(truth)))
    weights = inverse @ (targets @ design).T
    said = np.empty(len(vectors), np.int64)
    step = max(1, min(_AT_ONCE, _ANSWERS // max(1, len(labels))))
    for start in range(0, len(vectors), step):
        some = slice(start, start + step)
        said[some] = _without_itself(design[some], inverse, weights, truth[some])
    return Confusions(labels.tolist(), truth, said)


def nearest_photos(vectors: Floats) -> NDArray[np.int64]:
    """The place of the nearest other photo of each photo, int64 [n], n > 1. Vectors are float32 [n, d], unit rows."""
    try:
        import faiss
    except ModuleNotFoundError:
        raise ConfigError("merge: faiss is not installed; pip install 'groknet[cpu]'") from None
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, np.float32))
    _, found = index.search(np.ascontiguousarray(vectors, np.float32), 2)
    return np.where(found[:, 0] == np.arange(len(vectors)), found[:, 1], found[:, 0]).astype(np.int64)


def nearest_confusions(nearest: NDArray[np.int64], products: Sequence[str]) -> Confusions:
    """Judge every photo by the label of its nearest other photo, as `nearest_photos` gives it.

    A linear head needs several photos to learn a label. This needs one, so it also sees labels of two to five photos.
    """
    labels, truth = np.unique(np.asarray(products, np.str_), return_inverse=True)
    truth = truth.ravel().astype(np.int64)
    return Confusions(labels.tolist(), truth, truth[nearest])


def _without_itself(
    design: NDArray[np.float64], inverse: NDArray[np.float64], weights: NDArray[np.float64], truth: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The label that each photo is taken for by the head that was fitted to all others."""
    leverage = np.einsum("nd,de,ne->n", design, inverse, design, optimize=True)
    left = np.maximum(1 - leverage, 1e-9)[:, None]
    answers = design @ weights / left
    answers[np.arange(len(truth)), truth] -= leverage / left[:, 0]  # y − (y − a) / (1 − h) = (a − h y) / (1 − h)
    return np.asarray(answers.argmax(1), np.int64)
