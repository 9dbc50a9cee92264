"""Calibration on validation photos: a score becomes a probability, and a precision becomes a threshold.

Isotonic regression (Zadrozny & Elkan 2002) over (probability, right or wrong), one table a head: of the first label of
every photo where labels exclude each other, as the second is right more often the more the first is in doubt, which
would bend the table; of the five best where several labels may hold. The threshold is the lowest calibrated
probability at which those photos reach the precision asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from schemas.manifest import Calibration, Head
from training.evaluation.evaluate import Scored

LEAST_PHOTOS = 50  # fewer photos than this tell nothing that the raw probability does not


def isotonic(probability: NDArray[np.floating], correct: NDArray[np.bool_]) -> Calibration:
    """Fit one table to `probability [m]` and `correct [m]`.

    Values are kept off 0 and 1 by half a photo, (½) / (m + 1): so many photos cannot tell more. Below the lowest
    probability seen the table goes straight to 0 at 0, for the labels that come second and later.
    """
    fit = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(probability, correct)
    edge = 0.5 / (len(probability) + 1)
    y = np.clip(np.maximum.accumulate(fit.y_thresholds_), edge, 1 - edge)
    x = np.round(fit.X_thresholds_.astype(np.float64), 6)
    first = np.unique(x, return_index=True)[1]
    x, y = np.clip(x[first], 0, 1), np.round(y[first], 6)
    if x[0] > 0:
        x, y = np.append(0.0, x), np.append(0.0, y)
    return Calibration(x=x.tolist(), y=y.tolist())


def apply(table: Calibration | None, probability: NDArray[np.floating]) -> NDArray[np.float64]:
    """Calibrated probabilities, as the engine computes them."""
    raw = np.asarray(probability, np.float64)
    return raw if table is None else np.interp(raw, table.x, table.y)


def threshold(probability: NDArray[np.floating], correct: NDArray[np.bool_], precision: float) -> float:
    """Lowest t such that predictions with probability ≥ t are right with at least `precision`; 1 when there is none."""
    order = np.argsort(-probability, kind="stable")
    ranked, right = probability[order], np.cumsum(correct[order])
    # a threshold cannot part equal probabilities: only the last of each run is a candidate
    last = np.append(ranked[1:] != ranked[:-1], True)
    good = last & (right / np.arange(1, len(ranked) + 1) >= precision)
    return float(ranked[np.flatnonzero(good)[-1]]) if good.any() else 1.0


def calibrate_head(scored: Sequence[Scored], head: Head, precision: float) -> Head:
    """The head with its table and threshold, from raw predictions on the validation photos of its data sets."""
    filled = [s for s in scored if len(s.targets)]
    if sum(len(s.targets) for s in filled) < LEAST_PHOTOS:
        return head
    probability = np.concatenate([s.predictions.probabilities for s in filled])
    correct = np.concatenate([s.correct for s in filled])
    fitted = slice(None) if head.kind == "multi_label" else slice(1)
    table = isotonic(probability[:, fitted].ravel(), correct[:, fitted].ravel())
    # over all labels that may be offered, not the first alone: else the second would be offered at any probability
    lowest = threshold(apply(table, probability).ravel(), correct.ravel(), precision)
    if head.kind == "softmax":
        lowest = max(lowest, 0.5)  # of labels that exclude each other at most one is more likely than not
    # rounded down: a value that reached the threshold must still reach it as float32
    lowest = float(np.floor(lowest * 1e5) / 1e5) if lowest < 1 else 1.0
    return msgspec.structs.replace(head, calibration=table, threshold=lowest, target_precision=precision)
