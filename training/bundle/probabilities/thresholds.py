"""The probability from which labels are offered: the lowest at which the wanted precision is reached almost surely.

Whether a threshold keeps its promise is judged on probabilities that were calibrated without the photo in question
(`FOLDS` of the photos), over all labels of the head together. Of the offers above a candidate, the one-sided 95 % lower
bound of the share of right ones must reach the target. The bound is Jeffreys' (Brown, Cai & DasGupta 2001), which takes
fractional counts: photos of one product are right or wrong together, so they count as fewer than they are.

Some heads would need more validation photos than there are (`scarce`). There, training photos may help, by scores that
are cross-fitted (`training/bundle/probabilities/cross_fit.py`) and calibrated by themselves. Then the training photos
must reach the target surely, and the validation photos must reach it by a bound of less confidence (`supported`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from training.evaluation.scoring import Scored, taken

Floats = NDArray[np.float64]
FOLDS = 5
DOUBT = 0.05  # one-sided
# one-sided, for validation photos that training photos support. Without any doubt, half of the validation photos chose
# thresholds for colour whose offers were right in .87 of the cases on the other half, because the luckiest one is taken
SUPPORTED_DOUBT = 0.25
ENOUGH = 0.8  # of the share that the best threshold on the validation photos themselves would offer
Fit = Callable[[Sequence[Scored]], Callable[[Scored], Floats]]
"""Fits tables to some photos, and returns what gives the calibrated probabilities `[n, k]` of other photos."""


class Evidence(NamedTuple):
    """Predictions that judge a threshold, all `[m]`.

    Attributes:
        probability: calibrated without the photo.
        correct: whether the prediction was.
        share: how much it counts in the precision.
        weight: how much it counts as evidence; at most `share`.
    """

    probability: Floats
    correct: NDArray[np.bool_]
    share: Floats
    weight: Floats


def least_photos(precision: float) -> int:
    """How many offers, all of them right, make a precision sure. With fewer, nothing can be offered."""
    return next(n for n in range(1, 100_000) if lower_bound(np.array([n]), np.array([n]))[0] >= precision)


def lower_bound(right: NDArray[np.number], offers: NDArray[np.number], doubt: float = DOUBT) -> Floats:
    """The one-sided lower bounds of the share of right ones, `[m]`, for counts `right` of `offers`, `[m]` each. They
    are above the truth with the probability `doubt`."""
    wrong = np.maximum(offers - right, 0.0)
    result: Floats = beta.ppf(doubt, right + 0.5, wrong + 0.5)
    return result


def surely(found: Evidence, precision: float, doubt: float = DOUBT) -> float:
    """The lowest t such that the offers with probability ≥ t have `precision` by their lower bound, which `doubt` may
    miss; 1 if there is none."""
    ranked, right, evidence, last = _ranked(found)
    return _lowest(ranked, last & (lower_bound(right * evidence, evidence, doubt) >= precision))


def likely(found: Evidence, precision: float) -> float:
    """The lowest t such that the offers with probability ≥ t had `precision` on these very photos; 1 if there is
    none."""
    ranked, right, _, last = _ranked(found)
    return _lowest(ranked, last & (right >= precision))


def supported(judged: Evidence, learnt: Evidence, precision: float) -> float:
    """The lowest t such that the offers with probability ≥ t have `precision` by the lower bound of the cross-fitted
    training photos `learnt`, and by that of the validation photos `judged` with `SUPPORTED_DOUBT`; 1 if there is
    none."""
    ranked, right, counted, last = _ranked(judged)
    theirs, rightly, evidence, _ = _ranked(learnt)
    if not len(theirs):
        return 1.0
    bound = np.append(lower_bound(rightly * evidence, evidence), 0.0)
    above = np.searchsorted(-theirs, -ranked, side="right") - 1  # place of the last training offer; -1, none: 0
    enough = lower_bound(right * counted, counted, SUPPORTED_DOUBT) >= precision
    return _lowest(ranked, last & enough & (bound[above] >= precision))


def scarce(judged: Evidence, surely_from: float, likely_from: float) -> bool:
    """Whether offering from the sure threshold on offers less than `ENOUGH` of what the likely one would."""

    def offers(lowest: float) -> float:
        return float(judged.share[(judged.probability >= lowest) & (lowest < 1)].sum())

    return offers(surely_from) < ENOUGH * offers(likely_from)


def _ranked(found: Evidence) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Probabilities from the highest to the lowest, `[m]`. Of the offers down to each: the share of right ones, and the
    evidence. And whether it is a candidate: a threshold cannot separate equal ones, so only the last of each run is."""
    order = np.argsort(-found.probability, kind="stable")
    ranked, counted = found.probability[order], np.cumsum(found.share[order])
    right = np.cumsum(found.share[order] * found.correct[order]) / np.maximum(counted, 1e-9)
    last = np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)]
    return ranked, right, np.cumsum(found.weight[order]), last


def _lowest(ranked: Floats, good: NDArray[np.bool_]) -> float:
    return float(ranked[np.flatnonzero(good)[-1]]) if good.any() else 1.0


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
