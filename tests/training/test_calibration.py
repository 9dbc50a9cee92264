"""Isotonic tables against pool-adjacent-violators in loops, thresholds against trying them all."""

from __future__ import annotations

import numpy as np
import pytest

from engines.recognition import HeadPredictions
from schemas.manifest import Calibration, Head, Label
from training.calibration import apply, calibrate_head, isotonic, threshold
from training.evaluation.evaluate import Scored
from training.evaluation.metrics import ece


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


@pytest.mark.parametrize("precision", [0.5, 0.9, 1.0])
def test_threshold_against_trying_all(precision: float) -> None:
    rng = np.random.default_rng(5)
    p = np.round(rng.random(200), 2)  # with ties
    correct = rng.random(200) < p
    good = [t for t in np.unique(p) if correct[p >= t].mean() >= precision]
    assert threshold(p, correct, precision) == (min(good) if good else 1.0)


def test_no_threshold_where_no_precision_is_reached() -> None:
    assert threshold(np.array([0.3, 0.9]), np.array([False, False]), 0.5) == 1.0


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


def test_calibration_helps_on_photos_it_has_not_seen() -> None:
    head = calibrate_head([scored(1500, 1), scored(1500, 2)], scored(1, 0).head, 0.8)
    fresh = scored(3000, 3)
    raw, correct = fresh.predictions.probabilities[:, 0], fresh.correct[:, 0]
    calibrated = apply(head.calibration, raw)
    assert ece(calibrated, correct) < 0.35 * ece(raw, correct)
    assert correct[calibrated >= head.threshold].mean() >= 0.76
    assert head.threshold >= 0.5


def test_too_few_photos_leave_a_head_as_it_is() -> None:
    few = scored(10, 4)
    assert calibrate_head([few], few.head, 0.9) == few.head


def test_tables_that_fall_are_refused() -> None:
    with pytest.raises(ValueError, match="must not fall"):
        Calibration(x=[0.1, 0.2], y=[0.5, 0.4])
