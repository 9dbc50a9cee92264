"""Calibration on validation photos: a score becomes a probability, and a precision becomes a threshold.

A few hundred validation photos, several of them of one product, are too few for isotonic regression alone: its steps
would fit these photos and not the next ones. So every table is made of three parts. Each helps where the next one has
too few photos:

1. one logistic curve over log odds (Platt 1999) for all softmax heads of the network that were fitted in the same way;
2. the head's own curve, the maximum a posteriori around the shared one, with a prior as wide as such heads differ;
3. isotonic regression (Zadrozny & Elkan 2002) of the head's photos, which gets the weight n / (n + `BELIEF`).

If labels exclude each other, only the first label of every photo is fitted: the second one is correct more often when
the first is in doubt, which would bend the table. If several labels may hold, the five best are fitted. A label with
enough photos gets a table of its own (`class_tables`), and in a multi-label head every label does (`word_tables`).

With applicability, photos to which the head does not apply are fitted too; every label on them is wrong. The thresholds
are those of `training/bundle/probabilities/thresholds.py`; words get one for each data set. A softmax head with too few
validation photos for its precision also asks training photos, by cross-fitted scores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from schemas.manifest import Calibration, Head
from training.bundle.probabilities.silence import LEAST_PHOTOS
from training.bundle.probabilities.thresholds import DOUBT, Evidence, left_out, likely, scarce, supported, surely
from training.evaluation.scoring import Scored

Floats = NDArray[np.float64]

LEAST_OF_LABEL = 100  # with fewer photos a label's own table changed the order of labels and calibrated no better
BELIEF = 700.0  # with this many photos isotonic regression gets the same weight as the curve
LIKENESS = 0.3  # correlation of errors among photos of one product: m of them count as m / (1 + (m - 1) · this)
FAINT = 1e-6  # probabilities are kept this far from 0 and 1 before the log
LEAST_SLOPE = 0.05  # above 0, because a table must not fall
# standard deviations of slope and offset, narrowest first: how far heads may differ from their shared curve
SPREADS = ((0.2, 0.1), (0.4, 0.2), (0.6, 0.3), (0.8, 0.4), (1.2, 0.6), (2.0, 1.0))
FOLDS = 5  # of validation photos, to choose one of these
CLASS_SPREAD = (0.2, 0.3)  # how far labels may differ from their head
SOURCE_SPREAD = (0.3, 1.0)  # how far the words of one data set may differ from all words
WORD_SPREAD = (0.3, 0.5)  # how far a word may differ from the others of its data set
FREE = (10.0, 10.0)  # practically no prior
# where a curve is sampled: a straight line between two of these is within 0.01 of any curve with a slope below 2
GRID = np.array(
    [0.0, 0.002, 0.005, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99,
     0.995, 0.999, 1.0]
)  # fmt: skip


class Curve(NamedTuple):
    """A logistic curve over log odds. The default changes nothing."""

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, odds: Floats) -> Floats:
        result: Floats = 1 / (1 + np.exp(-(self.slope * odds + self.offset)))
        return result


@dataclass(frozen=True)
class Words:
    """What a multi-label head was taught about each of its l labels, over its training photos.

    Attributes:
        usual: `float64 [l]`, the mean of 1 / k over the photos with the label, where k is a photo's number of labels.
            This is the probability that the head was taught to give to the label.
        source: `int64 [l]`, the number of the data set that most of these photos are from.
    """

    usual: Floats
    source: NDArray[np.int64]


@dataclass(frozen=True)
class Points:
    """The predictions that are fitted, all `[m]`: raw probability, whether it was correct, label, and weight."""

    probability: Floats
    correct: NDArray[np.bool_]
    label: NDArray[np.int64]
    weight: Floats

    def __getitem__(self, chosen: NDArray[np.bool_]) -> Points:
        return Points(self.probability[chosen], self.correct[chosen], self.label[chosen], self.weight[chosen])


def log_odds(probability: NDArray[np.floating]) -> Floats:
    """log p / (1 − p), kept finite."""
    p = np.clip(np.asarray(probability, np.float64), FAINT, 1 - FAINT)
    result: Floats = np.log(p / (1 - p))
    return result


def fit_curve(
    odds: Floats, correct: NDArray[np.bool_], weight: Floats, around: Curve, spread: tuple[float, float]
) -> Curve:
    """The most probable curve for `odds [m]`, `correct [m]` and `weight [m]`, with a normal prior of standard deviation
    `spread` around `around`. The problem is convex and solved by Newton's method."""
    prior, precision = np.array(around), np.diag(1 / np.square(spread))
    found = prior.copy()
    for _ in range(50):
        said = Curve(*found)(odds)
        missed, doubt = weight * (said - correct), weight * said * (1 - said)
        gradient = np.array([missed @ odds, missed.sum()]) + precision @ (found - prior)
        crossed = doubt @ odds
        step = np.linalg.solve(np.array([[doubt @ odds**2, crossed], [crossed, doubt.sum()]]) + precision, gradient)
        length = float(np.linalg.norm(step))
        found = found - step / max(1.0, length)  # far from the minimum a full step may be too long
        found[0] = max(found[0], LEAST_SLOPE)
        if length < 1e-9:
            break
    return Curve(*found.tolist())


def points(scored: Sequence[Scored], head: Head) -> Points:
    """The predictions that a table of `head` is fitted to, from all its data sets together."""
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
    """The weight of each photo, `[n]`. Photos of one product are correct or wrong together, so each counts less."""
    if scored.products is None:
        return np.full(len(scored.targets), scored.share)
    _, place, many = np.unique(scored.products, return_inverse=True, return_counts=True)
    result: Floats = (1 / (1 + (many - 1) * LIKENESS))[place] * scored.share
    return result


class Shared(NamedTuple):
    """What heads that were fitted in the same way share: a curve, and how far a head's own curve may be from it."""

    curve: Curve
    spread: tuple[float, float] = SPREADS[0]


def share(heads: Sequence[Points]) -> Shared:
    """The heads' curve, and the narrowest of `SPREADS` that is as good as the best one.

    As good means: on photos that were left out of the fit, its log loss over folds is within one standard error of the
    best (Breiman et al. 1984, §3.4.3).
    """
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
    """All photos but one fold, and that fold. Folds are runs of photos, because neighbours often show one product."""
    left = np.zeros(len(found.label), np.bool_)
    left[np.array_split(np.arange(len(left)), FOLDS)[fold]] = True
    return found[~left], found[left]


def _log_loss(table: Calibration, found: Points) -> float:
    said = np.clip(apply(table, found.probability), 1e-3, 1 - 1e-3)  # a single photo must not decide
    return float(-(found.weight * np.log(np.where(found.correct, said, 1 - said))).sum())


def shared_curve(heads: Sequence[Points]) -> Curve:
    """One curve for all heads. A photo has the same weight as in the head's own curve."""
    odds = np.concatenate([log_odds(p.probability) for p in heads] or [np.empty(0)])
    correct = np.concatenate([p.correct for p in heads] or [np.empty(0, np.bool_)])
    return fit_curve(odds, correct, np.concatenate([p.weight for p in heads] or [np.empty(0)]), Curve(), FREE)


def isotonic(
    probability: NDArray[np.floating], correct: NDArray[np.bool_], weight: Floats | None = None
) -> Calibration:
    """Fit one table to `probability [m]` and `correct [m]`, with weights `[m]`, by isotonic regression.

    Values stay away from 0 and 1 by half a photo, ½ / (m + 1), because m photos cannot tell more. Below the lowest
    probability of these photos the table is a straight line to 0 at 0, for labels that come second and later.
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
    """Calibrated probabilities `[n, k]` of `labels [n, k]`, by the label's own table if it has one."""
    result = apply(head.calibration, probability)
    for label in head.labels:
        if label.id in head.class_calibration:
            mine = labels == label.index
            result[mine] = apply(head.class_calibration[label.id], probability[mine])
    return result


def head_table(found: Points, around: Shared) -> Calibration:
    """The head's own curve near `around`, mixed with isotonic regression by the number of photos."""
    own = fit_curve(log_odds(found.probability), found.correct, found.weight, around.curve, around.spread)
    steps = isotonic(found.probability, found.correct, found.weight)
    photos = float(found.weight.sum())
    x = np.union1d(steps.x, GRID)
    share = photos / (photos + BELIEF)
    return _table(x, share * apply(steps, x) + (1 - share) * own(log_odds(x)))


def class_tables(found: Points, head: Head, table: Calibration) -> dict[str, Calibration]:
    """Label id → a table, for every label that came first on at least `LEAST_OF_LABEL` photos. It is `table`, bent by a
    curve."""
    tables = {}
    for label in head.labels:
        mine = found[found.label == label.index]
        if len(mine.label) >= LEAST_OF_LABEL:
            odds = log_odds(apply(table, mine.probability))
            bent = fit_curve(odds, mine.correct, mine.weight, Curve(), CLASS_SPREAD)
            tables[label.id] = _table(np.array(table.x), bent(log_odds(np.array(table.y))))
    return tables


def word_tables(found: Points, head: Head, words: Words) -> dict[str, Calibration]:
    """Label id → a table, for every label of a multi-label head.

    The head was taught 1 / k for each of a photo's k labels, so a raw probability means nothing by itself. A label's
    curve is fitted to its log odds minus those of its usual value, near the curve of all labels of the same data set.
    Then the predictions of all these labels together correct what no logistic curve can follow.
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
        shape = (
            head_table(ready, Shared(Curve())) if ours.any() else None
        )  # many words together follow no logistic curve
        for i, own in curves.items():
            tables[head.labels[i].id] = _table(GRID, apply(shape, own(log_odds(GRID) - usual[i])))
    return tables


def _table(x: Floats, y: Floats) -> Calibration:
    """A table for the manifest: four digits, as in the store; 0 at 0; elsewhere never exactly 0 or 1."""
    y = np.clip(np.maximum.accumulate(np.round(y, 4)), 1e-4, 1 - 1e-4)
    y[x == 0] = 0.0
    return Calibration(x=x.tolist(), y=y.tolist())


def calibrate_head(
    scored: Sequence[Scored],
    head: Head,
    precision: float,
    around: Shared | None = None,
    words: Words | None = None,
    *,
    by_label: bool = True,
    others: Sequence[Scored] = (),
    learnt: Callable[[], Sequence[Scored]] | None = None,
    doubt: float = DOUBT,
) -> Head:
    """The head with its tables and its thresholds.

    With fewer than `LEAST_PHOTOS` photos of its own it offers nothing, and its table is that of the cross-fitted
    training photos, or the shared curve.

    Args:
        scored: raw predictions on the validation photos, one part for each of the head's data sets.
        head: without calibration.
        precision: the wanted precision of what is offered.
        around: what heads that were fitted in the same way share; None if there are no such heads.
        words: what a multi-label head was taught; without it the head gets no tables by label.
        by_label: False keeps a softmax head's order of labels, by leaving out tables by label.
        others: predictions on photos to which the head does not apply (`scoring.foreign`).
        learnt: gives cross-fitted predictions on training photos; asked only for a softmax head that needs them.
        doubt: the probability with which the bound of the precision may be missed.
    """
    filled = [s for s in scored if len(s.targets)]
    fit = _Fit(head, around, words, by_label=by_label)
    if sum(len(s.targets) for s in filled) < LEAST_PHOTOS:
        return msgspec.structs.replace(head, calibration=fit.of_few(learnt), target_precision=precision)
    parts = [*filled, *(s for s in others if len(s.targets))]
    ready = msgspec.structs.replace(fit(parts), target_precision=precision)
    labels, judged = _evidence(parts, fit)
    if head.kind == "multi_label":
        if words is None:
            return msgspec.structs.replace(ready, threshold=_lowered(surely(judged, precision, doubt)))
        source = words.source[labels]
        sure = {
            int(i): _lowered(surely(Evidence(*(values[source == i] for values in judged)), precision, doubt))
            for i in np.unique(words.source)
        }
        by_word = {label.id: sure[int(words.source[label.index])] for label in head.labels}
        return msgspec.structs.replace(ready, threshold=max(sure.values()), label_thresholds=by_word)
    lowest = _at_least_half(surely(judged, precision, doubt))
    if learnt is not None and scarce(judged, lowest, _at_least_half(likely(judged, precision))):
        _, theirs = _evidence(learnt(), fit)
        lowest = min(lowest, _at_least_half(supported(judged, theirs, precision)))
    return msgspec.structs.replace(ready, threshold=_lowered(lowest))


def _at_least_half(lowest: float) -> float:
    """Of labels that exclude each other, at most one has a probability above one half."""
    return max(lowest, 0.5)


@dataclass(frozen=True)
class _Fit:
    """Fits the tables of a head to predictions."""

    head: Head
    around: Shared | None
    words: Words | None
    by_label: bool = True

    def __call__(self, parts: Sequence[Scored]) -> Head:
        head, found = self.head, points(parts, self.head)
        table = head_table(found, self.around or Shared(shared_curve([found])))
        if head.kind == "softmax":
            own = class_tables(found, head, table) if self.by_label else {}
        else:
            own = {} if self.words is None else word_tables(found, head, self.words)
        return msgspec.structs.replace(head, calibration=table, class_calibration=own)

    def of_few(self, learnt: Callable[[], Sequence[Scored]] | None) -> Calibration | None:
        """The table of a head with too few validation photos; None if nothing is known."""
        theirs = points([] if learnt is None else learnt(), self.head)
        if len(theirs.label) >= LEAST_PHOTOS and self.head.kind == "softmax":
            return head_table(theirs, self.around or Shared(shared_curve([theirs])))
        return None if self.around is None else _table(GRID, self.around.curve(log_odds(GRID)))


def _evidence(parts: Sequence[Scored], fit: _Fit) -> tuple[NDArray[np.int64], Evidence]:
    """Label `[m]` and evidence of every prediction, by tables that were fitted without the photo.

    All labels that may be offered count: with the first label alone, the second would be offered at any probability.
    """

    def tables(some: Sequence[Scored]) -> Callable[[Scored], Floats]:
        ready = fit(some)
        return lambda s: apply_head(ready, s.predictions.labels, s.predictions.probabilities)

    filled = [s for s in parts if len(s.targets)]
    if not filled:
        none = np.empty(0)
        return none.astype(np.int64), Evidence(none, none.astype(np.bool_), none, none)
    said = np.concatenate([p.ravel() for p in left_out(filled, tables)])
    weight = np.concatenate([np.repeat(_weight(s), s.predictions.labels.shape[1]) for s in filled])
    share = np.concatenate([np.full(s.predictions.labels.size, s.share) for s in filled])
    labels = np.concatenate([s.predictions.labels.ravel() for s in filled]).astype(np.int64)
    correct = np.concatenate([s.correct.ravel() for s in filled])
    return labels, Evidence(said, correct, share, weight)


def _lowered(lowest: float) -> float:
    """Rounded down, so that a value that reached the threshold still does as float32."""
    return float(np.floor(lowest * 1e5) / 1e5) if lowest < 1 else 1.0
