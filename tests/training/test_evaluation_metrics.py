"""Figures of merit against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from training.evaluation import metrics


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
