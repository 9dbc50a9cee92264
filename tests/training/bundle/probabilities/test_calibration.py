"""Isotonic tables against pool-adjacent-violators in loops, curves against a grid."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from engines.recognition import HeadPredictions
from engines.recognition.outputs.calibration import Calibrator
from schemas.manifest import Calibration, Head, Label
from training.bundle.probabilities.calibration import (
    FREE,
    GRID,
    SPREADS,
    Curve,
    Points,
    Shared,
    Words,
    apply,
    apply_head,
    calibrate_head,
    fit_curve,
    isotonic,
    log_odds,
    points,
    share,
    shared_curve,
)
from training.evaluation.metrics import ece
from training.evaluation.scoring import Scored


def pooled(y: list[float]) -> list[float]:
    """Pool adjacent violators over values in order of probability."""
    blocks: list[list[float]] = []
    for value in y:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            last, weight = blocks.pop()
            before, other = blocks[-1]
            blocks[-1] = [(before * other + last * weight) / (other + weight), other + weight]
    return [value for value, weight in blocks for _ in range(int(weight))]


def test_isotonic_against_pooling() -> None:
    rng = np.random.default_rng(0)
    p = np.sort(rng.random(80))
    correct = rng.random(80) < p**2
    table = isotonic(p, correct)
    twin = np.clip(pooled(correct.astype(float).tolist()), 0.5 / 81, 1 - 0.5 / 81)
    assert apply(table, p) == pytest.approx(twin, abs=2e-4)


def test_isotonic_tables_are_legal_and_never_certain() -> None:
    table = isotonic(np.array([0.1, 0.1, 0.2, 0.9, 0.9]), np.array([False, False, False, True, True]))
    assert (table.x[0], table.y[0]) == (0, 0)
    assert 0 < table.y[1] < table.y[-1] < 1


def scored(n: int, seed: int) -> Scored:
    """A head of 4 labels that is overconfident: it says p and is right with p squared."""
    rng = np.random.default_rng(seed)
    head = Head(
        id="h",
        kind="softmax",
        column="c",
        datasets=["d"],
        output="o",
        labels=[Label(id=str(i), index=i, value=str(i)) for i in range(4)],
    )
    top = rng.uniform(0.4, 1.0, n)
    labels = np.stack([rng.permutation(4) for _ in range(n)]).astype(np.int32)
    right = rng.random(n) < top**2
    targets = np.where(right, labels[:, 0], labels[:, 1]).astype(np.int64)
    rest = (1 - top)[:, None] * np.array([0.5, 0.3, 0.2])
    probabilities = np.concatenate([top[:, None], rest], 1).astype(np.float32)
    offered = np.zeros_like(probabilities, bool)
    return Scored(head, HeadPredictions(labels, probabilities, offered), targets, None, 0)


def simulated(slope: float, offset: float, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Raw log odds, and right with the probability that the curve says."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(1, 2, n)
    return odds, rng.random(n) < Curve(slope, offset)(odds)


def test_a_curve_against_a_grid() -> None:
    odds, correct = simulated(0.7, -0.4, 60, 0)
    weight = np.random.default_rng(1).uniform(0.2, 1, 60)
    around, spread = Curve(0.9, 0.1), (0.2, 0.3)

    def loss(slope: float, offset: float) -> float:
        said = 1 / (1 + np.exp(-(slope * odds + offset)))
        prior = ((slope - around.slope) / spread[0]) ** 2 + ((offset - around.offset) / spread[1]) ** 2
        return float(-(weight * np.log(np.where(correct, said, 1 - said))).sum() + prior / 2)

    grid = [(a, b) for a in np.arange(0.4, 1.2, 0.01) for b in np.arange(-0.6, 0.6, 0.01)]
    best = min(grid, key=lambda pair: loss(*pair))
    assert fit_curve(odds, correct, weight, around, spread) == pytest.approx(best, abs=0.011)


def test_a_curve_never_falls() -> None:
    odds = np.linspace(-3, 3, 100)
    assert fit_curve(odds, odds < 0, np.ones(100), Curve(), FREE).slope > 0


def test_tables_follow_their_curves_between_the_points_of_the_grid() -> None:
    fine = np.linspace(0, 1, 20001)
    for curve in (Curve(0.5, 0.0), Curve(0.85, 0.2), Curve(1.4, -0.3), Curve(2.0, 1.0)):
        drawn = np.interp(fine, GRID, np.where(GRID == 0, 0, curve(log_odds(GRID))))
        assert np.abs(drawn - curve(log_odds(fine)))[fine > 0.002].max() < 0.02


def test_calibration_helps_on_photos_it_has_not_seen() -> None:
    head = calibrate_head([scored(1500, 1), scored(1500, 2)], scored(1, 0).head, 0.8)
    fresh = scored(3000, 3)
    raw, correct = fresh.predictions.probabilities[:, 0], fresh.correct[:, 0]
    calibrated = apply(head.calibration, raw)
    assert ece(calibrated, correct) < 0.35 * ece(raw, correct)
    assert correct[calibrated >= head.threshold].mean() >= 0.76
    assert head.threshold >= 0.5


def test_few_photos_lean_on_the_curve_that_the_heads_share() -> None:
    many = scored(6000, 5)
    shared = Shared(shared_curve([points([many], many.head)]))
    fresh = scored(3000, 6)
    raw, correct = fresh.predictions.probabilities[:, 0], fresh.correct[:, 0]
    errors = {around: [] for around in (shared, None)}
    for seed in range(8):
        for around, found in errors.items():
            head = calibrate_head([scored(60, 100 + seed)], many.head, 0.8, around)
            found.append(ece(apply(head.calibration, raw), correct))
    assert np.mean(errors[shared]) < 0.8 * np.mean(errors[None])


def test_heads_that_differ_widely_are_not_held_near_their_shared_curve() -> None:
    """Points whose truth is a logistic curve of their log odds: all the same one, or one of its own for every head."""

    def head(offset: float, seed: int) -> Points:
        rng = np.random.default_rng(seed)
        raw = rng.uniform(0.05, 0.95, 400)
        right = rng.random(400) < 1 / (1 + np.exp(-(log_odds(raw) + offset)))
        return Points(raw, right, np.zeros(400, np.int64), np.ones(400))

    alike = share([head(0.5, seed) for seed in range(6)])
    unlike = share([head(offset, 10 + i) for i, offset in enumerate((-2.5, -1.0, 0.0, 1.0, 2.0, 3.0))])
    assert alike.spread == SPREADS[0]
    assert SPREADS.index(unlike.spread) >= 3
    assert alike.curve.offset == pytest.approx(0.5, abs=0.15)


def test_photos_of_one_product_count_as_fewer() -> None:
    one = scored(60, 7)
    of_three = dataclasses.replace(one, products=np.arange(60) // 3)
    assert points([one], one.head).weight.tolist() == [1.0] * 60
    assert points([of_three], one.head).weight == pytest.approx([1 / 1.6] * 60)


def test_a_label_with_photos_enough_gets_a_table_of_its_own() -> None:
    """Label 0 is right with p squared, the others with p."""

    def draw(n: int, seed: int) -> Scored:
        rng = np.random.default_rng(seed + 1000)  # not the numbers that `scored` draws
        some = scored(n, seed)
        labels, top = some.predictions.labels, some.predictions.probabilities[:, 0]
        right = rng.random(n) < np.where(labels[:, 0] == 0, top**2, top)
        return dataclasses.replace(some, targets=np.where(right, labels[:, 0], labels[:, 1]).astype(np.int64))

    fitted = calibrate_head([draw(2000, 8)], draw(1, 0).head, 0.8)
    assert set(fitted.class_calibration) == {"0", "1", "2", "3"}
    assert calibrate_head([draw(300, 8)], fitted, 0.8).class_calibration == {}  # about 75 photos a label
    fresh = draw(4000, 9)
    first = fresh.predictions.labels[:, 0] == 0
    raw, correct = fresh.predictions.probabilities[first, 0], fresh.correct[first, 0]
    own = apply_head(fitted, fresh.predictions.labels[first, :1], raw[:, None])[:, 0]
    assert ece(own, correct) < 0.5 * ece(apply(fitted.calibration, raw), correct)


def test_words_are_read_against_what_they_were_taught() -> None:
    """Photos with one word of labels 0 and 1, or with four of 2 to 5: a quarter is all that these were taught."""
    rng = np.random.default_rng(10)
    head = Head(
        id="q",
        kind="multi_label",
        column="query",
        datasets=["d"],
        output="o",
        labels=[Label(id=str(i), index=i, value=str(i)) for i in range(6)],
    )
    alone = np.arange(400) % 2 == 0
    guess = rng.integers(0, 2, 400)
    labels = np.where(alone[:, None], np.stack([guess, *np.full((400, 4), [2, 3, 4, 5]).T], 1), [2, 3, 4, 5, 0])
    probabilities = np.where(alone[:, None], [0.25, 0.02, 0.02, 0.02, 0.02], [0.25, 0.25, 0.25, 0.25, 0.01])
    positives = np.zeros((400, 6), np.bool_)
    positives[~alone, 2:] = True
    positives[alone, 1 - guess[alone]] = True  # a quarter where all was due: the guess was wrong
    found = HeadPredictions(labels.astype(np.int32), probabilities.astype(np.float32), np.zeros((400, 5), np.bool_))
    targets = Scored(head, found, np.zeros(400, np.int64), positives, 0)
    words = Words(np.array([1, 1, 0.25, 0.25, 0.25, 0.25]), np.array([0, 0, 1, 1, 1, 1]))
    fitted = calibrate_head([targets], head, 0.8, None, words)
    assert set(fitted.class_calibration) == {str(i) for i in range(6)}
    assert apply(fitted.class_calibration["2"], np.array([0.25]))[0] > 0.8
    assert apply(fitted.class_calibration["0"], np.array([0.25]))[0] < 0.2


def test_the_engine_computes_what_was_fitted() -> None:
    some = scored(2000, 11)
    head = calibrate_head([some], some.head, 0.8)
    raw = np.random.default_rng(0).dirichlet(np.ones(4), 50).astype(np.float32)
    every = np.broadcast_to(np.arange(4), (50, 4))
    assert Calibrator(head, 4).calibrate(raw) == pytest.approx(apply_head(head, every, raw), abs=1e-6)


def test_too_few_photos_leave_a_head_as_it_is() -> None:
    few = scored(10, 4)
    assert calibrate_head([few], few.head, 0.9) == few.head


def test_tables_that_fall_are_refused() -> None:
    with pytest.raises(ValueError, match="must not fall"):
        Calibration(x=[0.1, 0.2], y=[0.5, 0.4])
