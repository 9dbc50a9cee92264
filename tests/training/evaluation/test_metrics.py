"""Figures of merit against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from engines.recognition import HeadPredictions
from schemas.manifest import Head, Label
from training.evaluation import metrics
from training.evaluation.scoring import Scored, figures, together


def test_accuracy_and_macro_by_hand() -> None:
    labels = np.array([[0, 1, 2], [1, 0, 2], [2, 1, 0], [0, 2, 1]])
    targets = np.array([0, 0, 2, 2])
    found = metrics.accuracy(labels, targets)
    assert found == {"top1": 0.5, "top5": 1.0, "macro": 0.5}
    assert metrics.accuracy(labels, np.array([0, 0, 2, 7]))["top5"] == 0.75


def test_macro_weighs_classes_not_photos() -> None:
    labels = np.array([[0]] * 9 + [[0]])
    targets = np.array([0] * 9 + [1])
    assert metrics.accuracy(labels, targets)["macro"] == pytest.approx(0.5)


def test_accuracy_of_sets() -> None:
    labels = np.array([[3, 0, 1, 2, 4], [1, 2, 3, 4, 5]])
    positives = np.zeros((2, 7), bool)
    positives[0, [0, 6]] = True
    positives[1, 1] = True
    found = metrics.accuracy_of_sets(labels, positives)
    assert (found["top1"], found["top5"]) == (0.5, 1.0)
    assert found["macro"] == pytest.approx((1 + 0 + 1) / 3)  # labels 0, 6 and 1


def ece_twin(probability: np.ndarray, correct: np.ndarray, bins: int) -> float:
    pairs = sorted(zip(probability.tolist(), correct.tolist(), strict=True), key=lambda pair: pair[0])
    total, start = 0.0, 0
    for b in range(bins):
        size = len(pairs) // bins + (1 if b < len(pairs) % bins else 0)
        part = pairs[start : start + size]
        start += size
        if part:
            gap = sum(p for p, _ in part) / len(part) - sum(c for _, c in part) / len(part)
            total += abs(gap) * len(part) / len(pairs)
    return total


@pytest.mark.parametrize("n", [7, 15, 200])
def test_ece_against_loops(n: int) -> None:
    rng = np.random.default_rng(n)
    probability = rng.random(n)
    correct = rng.random(n) < probability**2
    assert metrics.ece(probability, correct) == pytest.approx(ece_twin(probability, correct, min(15, n)), abs=1e-12)


def test_hamming_counts_bits() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 256, (4, 32), np.uint8), rng.integers(0, 256, (5, 32), np.uint8)
    twin = [[sum(int(x != y) for x, y in zip(np.unpackbits(p), np.unpackbits(q), strict=True)) for q in b] for p in a]
    assert metrics.hamming(a, b).tolist() == twin


def test_recall_against_sorting() -> None:
    rng = np.random.default_rng(2)
    distance = rng.permutation(30 * 12).reshape(30, 12)  # no ties
    query_ids, gallery_ids = rng.integers(0, 6, 30), rng.integers(0, 6, 12)
    for k, share in metrics.recall(distance, query_ids, gallery_ids, ks=(1, 5)).items():
        near = int(k.removeprefix("recall_at_"))
        twin = [query_ids[i] in gallery_ids[np.argsort(distance[i])[:near]] for i in range(30)]
        assert share == np.mean(twin)


def test_a_tie_is_worth_its_share_not_a_hit() -> None:
    # a constant hash: every gallery picture is equally near, so R@1 is about 1 in 50, and never 1
    distance = np.zeros((2000, 50))
    found = metrics.recall(distance, np.arange(2000) % 50, np.arange(50))
    assert found["recall_at_1"] == pytest.approx(1 / 50)
    assert found["recall_at_10"] == pytest.approx(10 / 50)


def test_mean_average_precision_against_loops() -> None:
    rng = np.random.default_rng(3)
    distance = rng.permutation(20 * 15).reshape(20, 15)  # no ties
    gallery_ids = rng.permutation(np.arange(15) % 5)
    query_ids = rng.integers(0, 5, 20)
    values = []
    for i in range(20):
        ranked = [gallery_ids[j] == query_ids[i] for j in np.argsort(distance[i])]
        values.append(np.mean([sum(ranked[: k + 1]) / (k + 1) for k in range(15) if ranked[k]]))
    assert metrics.mean_average_precision(distance, query_ids, gallery_ids) == pytest.approx(np.mean(values))


def test_average_precision_of_sets_by_hand() -> None:
    labels = np.array([[0, 1], [1, 0], [0, 2]])
    probability = np.array([[0.9, 0.2], [0.8, 0.6], [0.7, 0.1]])
    positives = np.array([[1, 0, 0], [1, 0, 1], [0, 0, 0]], bool)
    # label 0: photos 0 (right), 2 (wrong), 1 (right): (1 + 2/3) / 2; label 2: its only photo has it not among the two
    found = metrics.average_precision_of_sets(labels, probability, positives)
    assert found == pytest.approx(((1 + 2 / 3) / 2 + 0) / 2)


def test_bins_hold_every_prediction_once() -> None:
    rng = np.random.default_rng(4)
    probability = rng.random(100)
    bins = metrics.reliability(probability, probability > 0.5)
    assert [one.count for one in bins] == [7] * 10 + [6] * 5
    assert [one.said for one in bins] == sorted(one.said for one in bins)
    assert sum(one.count * one.said for one in bins) == pytest.approx(probability.sum())


@pytest.mark.parametrize(("n", "p"), [(60, 0.5), (1500, 0.5), (1500, 0.9)])
def test_the_floor_is_what_chance_gives(n: int, p: float) -> None:
    # of equal probabilities a bin of n / 15 is off by a binomial error, its mean size sqrt(2 / pi) of its deviation
    expected = np.sqrt(2 / np.pi * p * (1 - p) * 15 / n)
    assert metrics.ece_floor(np.full(n, p)) == pytest.approx(expected, rel=0.12)


def test_one_head_over_two_data_sets_counts_every_photo_once() -> None:
    rng = np.random.default_rng(2)
    head = Head(
        id="kind",
        kind="softmax",
        column="kind",
        datasets=["few", "many"],
        output="head.kind",
        labels=[Label(id=str(i), index=i, value=str(i)) for i in range(3)],
    )

    def part(n: int, outside: int) -> Scored:
        labels = np.stack([rng.permutation(3) for _ in range(n)])
        probabilities = np.sort(rng.random((n, 3)), axis=1)[:, ::-1].astype(np.float32)
        found = HeadPredictions(labels, probabilities, probabilities > 0.5)
        return Scored(head, found, rng.integers(0, 3, n), None, outside)

    few, many = part(20, 1), part(60, 2)
    both, alone = figures(together([few, many])), [figures(few), figures(many)]
    assert (both["n"], both["outside"]) == (80, 3)
    assert both["top1"] == pytest.approx((20 * alone[0]["top1"] + 60 * alone[1]["top1"]) / 80)
    said = np.concatenate([one.predictions.probabilities[:, 0] for one in (few, many)])
    right = np.concatenate([one.predictions.labels[:, 0] == one.targets for one in (few, many)])
    assert both["ece"] == pytest.approx(ece_twin(said, right, 15), abs=1e-6)
