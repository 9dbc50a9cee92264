"""The probability from which labels are offered: the lowest at which the wanted precision is reached almost surely.

Whether a threshold keeps its promise is judged on probabilities that were calibrated without the photo in question
(`FOLDS` of the photos), over all labels of the head together. Of the offers above a candidate, the one-sided 95 % lower
bound of the share of right ones must reach the target. The bound is Jeffreys' (Brown, Cai & DasGupta 2001), which takes
fractional counts: photos of one product are right or wrong together, so they count as fewer than they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from training.evaluation.scoring import Scored, taken

Floats = NDArray[np.float64]
FOLDS = 5
DOUBT = 0.05  # one-sided
Fit = Callable[[Sequence[Scored]], Callable[[Scored], Floats]]
"""Fits tables to some photos, and returns what gives the calibrated probabilities `[n, k]` of other photos."""


def least_photos(precision: float) -> int:
    """How many offers, all of them right, make a precision sure. With fewer, nothing can be offered."""
    return next(n for n in range(1, 100_000) if lower_bound(np.array([n]), np.array([n]))[0] >= precision)


def lower_bound(right: NDArray[np.number], offers: NDArray[np.number]) -> Floats:
    """The one-sided 95 % lower bounds of the share of right ones, `[m]`, for counts `right` of `offers`, `[m]` each."""
    wrong = np.maximum(offers - right, 0.0)
    result: Floats = beta.ppf(DOUBT, right + 0.5, wrong + 0.5)
    return result


def surely(probability: Floats, correct: NDArray[np.bool_], share: Floats, weight: Floats, precision: float) -> float:
    """The lowest t such that the offers with probability ≥ t have `precision` by their lower bound; 1 if there is none.

    Args:
        probability: `[m]`, calibrated without the photo.
        correct: `[m]`.
        share: `[m]`, how much each prediction counts in the precision.
        weight: `[m]`, how much it counts as evidence; at most `share`.
        precision: the wanted one.
    """
    order = np.argsort(-probability, kind="stable")
    ranked, counted = probability[order], np.cumsum(share[order])
    right = np.cumsum(share[order] * correct[order]) / np.maximum(counted, 1e-9)
    evidence = np.cumsum(weight[order])
    # a threshold cannot separate equal probabilities, so only the last of each run is a candidate
    last = np.append(ranked[1:] != ranked[:-1], True)
    bound = lower_bound(right * evidence, evidence)
    good = np.flatnonzero(last & (bound >= precision))
    return float(ranked[good[-1]]) if len(good) else 1.0


def left_out(parts: Sequence[Scored], fit: Fit) -> list[Floats]:
    """For each part, the calibrated probabilities `[n, k]` of its photos by tables that were fitted without them.

    Folds are runs of photos, because neighbours often show one product.
    """
    found = [np.zeros(part.predictions.probabilities.shape) for part in parts]
    places = [np.array_split(np.arange(len(part.targets)), FOLDS) for part in parts]
    for fold in range(FOLDS):
        others = [np.concatenate([p for i, p in enumerate(one) if i != fold]) for one in places]
        tables = fit([taken(part, at) for part, at in zip(parts, others, strict=True)])
        for part, one, said in zip(parts, places, found, strict=True):
            if len(one[fold]):
                said[one[fold]] = tables(taken(part, one[fold]))
    return found
