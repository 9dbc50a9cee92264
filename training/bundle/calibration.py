"""Calibration on validation photos: a score becomes a probability, and a precision becomes a threshold.

A few hundred validation photos, several of one product, tell less than isotonic regression alone would believe: its
steps follow them and not the next photos. So every table stands on three legs, each carrying where the next lacks data:

1. one logistic curve over log odds (Platt 1999) for the softmax heads of a network that were fitted alike;
2. the head's own curve, the maximum a posteriori around that one, with a prior as wide as such heads differ;
3. isotonic regression (Zadrozny & Elkan 2002) of the head's photos, which weighs n / (n + `BELIEF`) against the curve.

Where labels exclude each other the first label of every photo is fitted, as the second is right more often the more the
first is in doubt, which would bend the table; where several may hold, the five best. A label with photos enough gets a
table of its own on top (`class_tables`), and in a multi-label head every label does (`word_tables`). The threshold is
the lowest calibrated probability at which the validation photos reach the precision asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from schemas.manifest import Calibration, Head
from training.evaluation.scoring import Scored

Floats = NDArray[np.float64]

LEAST_PHOTOS = 50  # fewer photos than this tell nothing that the raw probability does not
LEAST_OF_LABEL = 100  # with fewer a table of its own moved labels past each other without being better calibrated
BELIEF = 700.0  # photos at which isotonic regression counts as much as the curve
LIKENESS = 0.3  # how alike right and wrong are among photos of one product: m of them count as m / (1 + (m - 1) · this)
FAINT = 1e-6  # probabilities are kept this far from 0 and 1 before the log
LEAST_SLOPE = 0.05  # a table must not fall
# standard deviations of slope and offset: how far heads may differ from their shared curve, narrowest first …
SPREADS = ((0.2, 0.1), (0.4, 0.2), (0.6, 0.3), (0.8, 0.4), (1.2, 0.6), (2.0, 1.0))
FOLDS = 5  # of validation photos, to choose among them
CLASS_SPREAD = (0.2, 0.3)  # … labels from their head …
SOURCE_SPREAD = (0.3, 1.0)  # … words of one data set from all words …
WORD_SPREAD = (0.3, 0.5)  # … and words from the others of their data set
FREE = (10.0, 10.0)  # no prior to speak of
# where a curve is sampled: a straight line between two of these is within 0.01 of any curve with a slope below 2
GRID = np.array(
    [0.0, 0.002, 0.005, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99,
     0.995, 0.999, 1.0]
)  # fmt: skip


class Curve(NamedTuple):
    """A logistic curve over log odds; the default leaves them as they are."""

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, odds: Floats) -> Floats:
        result: Floats = 1 / (1 + np.exp(-(self.slope * odds + self.offset)))
        return result


@dataclass(frozen=True)
class Words:
    """What a multi-label head learned from, label by label, over its training photos.

    `usual [l]`: the mean 1 / k over the photos that carry the label, k their number of labels, which is the probability
    that the head was taught to give it; `source [l]`: the data set that most of these photos are of.
    """

    usual: Floats
    source: NDArray[np.int64]


@dataclass(frozen=True)
class Points:
    """What is fitted, `[m]` each: raw probability, right or wrong, label, and how much it counts."""

    probability: Floats
    correct: NDArray[np.bool_]
    label: NDArray[np.int64]
    weight: Floats

    def __getitem__(self, chosen: NDArray[np.bool_]) -> Points:
        return Points(self.probability[chosen], self.correct[chosen], self.label[chosen], self.weight[chosen])


def log_odds(probability: NDArray[np.floating]) -> Floats:
    """log p / (1 - p), finite."""
    p = np.clip(np.asarray(probability, np.float64), FAINT, 1 - FAINT)
    result: Floats = np.log(p / (1 - p))
    return result


def fit_curve(
    odds: Floats, correct: NDArray[np.bool_], weight: Floats, around: Curve, spread: tuple[float, float]
) -> Curve:
    """The most probable curve for `odds [m]` and `correct [m]`, weighted, with a normal prior; convex, by Newton."""
    prior, precision = np.array(around), np.diag(1 / np.square(spread))
    found = prior.copy()
    for _ in range(50):
        said = Curve(*found)(odds)
        missed, doubt = weight * (said - correct), weight * said * (1 - said)
        gradient = np.array([missed @ odds, missed.sum()]) + precision @ (found - prior)
        crossed = doubt @ odds
        step = np.linalg.solve(np.array([[doubt @ odds**2, crossed], [crossed, doubt.sum()]]) + precision, gradient)
        length = float(np.linalg.norm(step))
        found = found - step / max(1.0, length)  # far from the end Newton may overshoot
        found[0] = max(found[0], LEAST_SLOPE)
        if length < 1e-9:
            break
    return Curve(*found.tolist())


def points(scored: Sequence[Scored], head: Head) -> Points:
    """The predictions that a table of `head` is fitted to, of all its data sets together."""
    filled = [s for s in scored if len(s.targets)]
    if not filled:
        empty = np.empty(0)
        return Points(empty, empty.astype(np.bool_), empty.astype(np.int64), empty)
    depth = None if head.kind == "multi_label" else 1
    probability = np.concatenate([s.predictions.probabilities[:, :depth] for s in filled]).astype(np.float64)
    correct = np.concatenate([s.correct[:, :depth] for s in filled])
    label = np.concatenate([s.predictions.labels[:, :depth] for s in filled]).astype(np.int64)
    weight = np.repeat(np.concatenate([_weight(s) for s in filled]), probability.shape[1])
    return Points(probability.ravel(), correct.ravel(), label.ravel(), weight)


def _weight(scored: Scored) -> Floats:
    """How much each photo counts: photos of one product are right or wrong together."""
    if scored.products is None:
        return np.ones(len(scored.targets))
    _, place, many = np.unique(scored.products, return_inverse=True, return_counts=True)
    result: Floats = (1 / (1 + (many - 1) * LIKENESS))[place]
    return result


class Shared(NamedTuple):
    """What heads that were fitted alike have in common: their curve, and how far a head's own may be from it."""

    curve: Curve
    spread: tuple[float, float] = SPREADS[0]


def share(heads: Sequence[Points]) -> Shared:
    """The heads' curve, and the narrowest of `SPREADS` that is as good as the best on photos that were not fitted to:
    within one standard error of its log loss over folds (Breiman et al. 1984, §3.4.3)."""
    losses = np.zeros((len(SPREADS), FOLDS))
    for fold in range(FOLDS):
        parts = [_parted(found, fold) for found in heads if len(found.label) >= FOLDS]
        curve = shared_curve([learnt for learnt, _ in parts])
        for i, spread in enumerate(SPREADS):
            tables = [head_table(learnt, Shared(curve, spread)) for learnt, _ in parts]
            losses[i, fold] = sum(_log_loss(table, left) for table, (_, left) in zip(tables, parts, strict=True))
    more = losses - losses[losses.sum(1).argmin()]
    error = more.std(1, ddof=1) * np.sqrt(FOLDS)
    return Shared(shared_curve(heads), SPREADS[int(np.flatnonzero(more.sum(1) <= error)[0])])


def _parted(found: Points, fold: int) -> tuple[Points, Points]:
    """All photos but those of one fold, and that fold; neighbours, which are often of one product, stay together."""
    left = np.zeros(len(found.label), np.bool_)
    left[np.array_split(np.arange(len(left)), FOLDS)[fold]] = True
    return found[~left], found[left]


def _log_loss(table: Calibration, found: Points) -> float:
    said = np.clip(apply(table, found.probability), 1e-3, 1 - 1e-3)  # one photo must not decide
    return float(-(found.weight * np.log(np.where(found.correct, said, 1 - said))).sum())


def shared_curve(heads: Sequence[Points]) -> Curve:
    """One curve for all heads, each photo of each counting as it does in its own."""
    odds = np.concatenate([log_odds(p.probability) for p in heads] or [np.empty(0)])
    correct = np.concatenate([p.correct for p in heads] or [np.empty(0, np.bool_)])
    return fit_curve(odds, correct, np.concatenate([p.weight for p in heads] or [np.empty(0)]), Curve(), FREE)


def isotonic(
    probability: NDArray[np.floating], correct: NDArray[np.bool_], weight: Floats | None = None
) -> Calibration:
    """Fit one table to `probability [m]` and `correct [m]`, weighted.

    Values are kept off 0 and 1 by half a photo, (½) / (m + 1): so many photos cannot tell more. Below the lowest
    probability seen the table goes straight to 0 at 0, for the labels that come second and later.
    """
    fit = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(probability, correct, weight)
    edge = 0.5 / (len(probability) + 1)
    y = np.clip(np.maximum.accumulate(fit.y_thresholds_), edge, 1 - edge)
    x = np.round(fit.X_thresholds_.astype(np.float64), 6)
    first = np.unique(x, return_index=True)[1]
    x, y = np.clip(x[first], 0, 1), np.round(y[first], 6)
    if x[0] > 0:
        x, y = np.append(0.0, x), np.append(0.0, y)
    return Calibration(x=x.tolist(), y=y.tolist())


def apply(table: Calibration | None, probability: NDArray[np.floating]) -> Floats:
    """Calibrated probabilities, as the engine computes them."""
    raw = np.asarray(probability, np.float64)
    return raw if table is None else np.interp(raw, table.x, table.y)


def apply_head(head: Head, labels: NDArray[np.integer], probability: NDArray[np.floating]) -> Floats:
    """Calibrated probabilities `[n, k]` of `labels [n, k]`, by the label's own table where it has one."""
    result = apply(head.calibration, probability)
    for label in head.labels:
        if label.id in head.class_calibration:
            mine = labels == label.index
            result[mine] = apply(head.class_calibration[label.id], probability[mine])
    return result


def head_table(found: Points, around: Shared) -> Calibration:
    """Isotonic regression and the curve around `around`, mixed by how many photos there are."""
    own = fit_curve(log_odds(found.probability), found.correct, found.weight, around.curve, around.spread)
    steps = isotonic(found.probability, found.correct, found.weight)
    photos = float(found.weight.sum())
    x = np.union1d(steps.x, GRID)
    share = photos / (photos + BELIEF)
    return _table(x, share * apply(steps, x) + (1 - share) * own(log_odds(x)))


def class_tables(found: Points, head: Head, table: Calibration) -> dict[str, Calibration]:
    """By label id, a table for every label that came first on `LEAST_OF_LABEL` photos: `table`, bent by a curve."""
    tables = {}
    for label in head.labels:
        mine = found[found.label == label.index]
        if len(mine.label) >= LEAST_OF_LABEL:
            odds = log_odds(apply(table, mine.probability))
            bent = fit_curve(odds, mine.correct, mine.weight, Curve(), CLASS_SPREAD)
            tables[label.id] = _table(np.array(table.x), bent(log_odds(np.array(table.y))))
    return tables


def word_tables(found: Points, head: Head, words: Words) -> dict[str, Calibration]:
    """By label id, a table for every label of a multi-label head.

    A photo with k labels was taught 1 / k for each, so that a raw probability says nothing by itself: a curve is over
    its log odds less those of the label's usual value, around the curve of the labels of the same data set, whose
    predictions together then straighten what no logistic curve follows.
    """
    usual = log_odds(np.minimum(words.usual, 0.95))
    odds = log_odds(found.probability) - usual[found.label]
    every = fit_curve(odds, found.correct, found.weight, Curve(), FREE)
    tables = {}
    for source in np.unique(words.source):
        ours = words.source[found.label] == source
        curve = fit_curve(odds[ours], found.correct[ours], found.weight[ours], every, SOURCE_SPREAD)
        curves, said = {}, np.empty(len(odds))
        for i in np.flatnonzero(words.source == source):
            mine = found.label == i
            curves[i] = fit_curve(odds[mine], found.correct[mine], found.weight[mine], curve, WORD_SPREAD)
            said[mine] = curves[i](odds[mine])
        ready = Points(said[ours], found.correct[ours], found.label[ours], found.weight[ours])
        shape = head_table(ready, Shared(Curve())) if ours.any() else None  # of many words together, no logistic curve
        for i, own in curves.items():
            tables[head.labels[i].id] = _table(GRID, apply(shape, own(log_odds(GRID) - usual[i])))
    return tables


def _table(x: Floats, y: Floats) -> Calibration:
    """The manifest's form: four digits, as the store keeps; nothing for nothing, and never certain."""
    y = np.clip(np.maximum.accumulate(np.round(y, 4)), 1e-4, 1 - 1e-4)
    y[x == 0] = 0.0
    return Calibration(x=x.tolist(), y=y.tolist())


def threshold(probability: NDArray[np.floating], correct: NDArray[np.bool_], precision: float) -> float:
    """Lowest t such that predictions with probability ≥ t are right with at least `precision`; 1 when there is none."""
    order = np.argsort(-probability, kind="stable")
    ranked, right = probability[order], np.cumsum(correct[order])
    # a threshold cannot part equal probabilities: only the last of each run is a candidate
    last = np.append(ranked[1:] != ranked[:-1], True)
    good = last & (right / np.arange(1, len(ranked) + 1) >= precision)
    return float(ranked[np.flatnonzero(good)[-1]]) if good.any() else 1.0


def calibrate_head(
    scored: Sequence[Scored],
    head: Head,
    precision: float,
    around: Shared | None = None,
    words: Words | None = None,
    *,
    by_label: bool = True,
) -> Head:
    """The head with its tables and threshold, from raw predictions on the validation photos of its data sets.

    `around` is what the heads that were fitted alike share, None where there is none to lean on. A multi-label head
    needs `words` for tables by label; `by_label` False leaves a softmax head's order of labels as the network has it.
    """
    filled = [s for s in scored if len(s.targets)]
    if sum(len(s.targets) for s in filled) < LEAST_PHOTOS:
        return head
    found = points(filled, head)
    table = head_table(found, around or Shared(shared_curve([found])))
    if head.kind == "softmax":
        own = class_tables(found, head, table) if by_label else {}
    else:
        own = {} if words is None else word_tables(found, head, words)
    head = msgspec.structs.replace(head, calibration=table, class_calibration=own)
    # over all labels that may be offered, not the first alone: else the second would be offered at any probability
    labels = np.concatenate([s.predictions.labels for s in filled])
    calibrated = apply_head(head, labels, np.concatenate([s.predictions.probabilities for s in filled]))
    lowest = threshold(calibrated.ravel(), np.concatenate([s.correct for s in filled]).ravel(), precision)
    if head.kind == "softmax":
        lowest = max(lowest, 0.5)  # of labels that exclude each other at most one is more likely than not
    # rounded down: a value that reached the threshold must still reach it as float32
    lowest = float(np.floor(lowest * 1e5) / 1e5) if lowest < 1 else 1.0
    return msgspec.structs.replace(head, threshold=lowest, target_precision=precision)
