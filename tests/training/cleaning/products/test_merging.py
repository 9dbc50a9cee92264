"""Merges of planted halves, in rounds, and why each was made."""

from __future__ import annotations

import numpy as np
import pytest

from training.cleaning.products.confusions import confusions
from training.cleaning.products.merging import MergeSettings, gap, merge_marks, merges


def planted() -> tuple[np.ndarray, list[str], list[str]]:
    """Twelve products; the first has three labels, the second and third have two, of unequal size."""
    rng = np.random.default_rng(4)
    centres = rng.normal(size=(12, 64))
    rows, labels = [], []
    for product in range(12):
        for number in range(18):
            rows.append(centres[product] + rng.normal(size=64) * 0.5)
            parts = {0: "abc"[number % 3], 1: "ab"[number % 2], 2: "ab"[number % 3 == 0]}
            labels.append(f"p{product:02d}{parts.get(product, '')}")
    vectors = np.array(rows)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), labels, [f"{i}.jpg" for i in range(len(labels))]


def test_the_labels_of_one_product_become_one_and_others_do_not() -> None:
    vectors, labels, paths = planted()
    into = {mark.product: mark.into for mark in merge_marks(paths, labels, vectors, MergeSettings())}
    for _ in range(3):
        final = {into.get(label, label) for label in labels}
        labels = [into.get(label, label) for label in labels]
    assert len(final) == 12
    assert {label[:3] for label in final} == {f"p{i:02d}" for i in range(12)}


def test_a_merge_says_by_which_photos_and_numbers() -> None:
    vectors, labels, _ = planted()
    first = next(merges(vectors, labels, MergeSettings()))
    found = confusions(vectors, labels)
    small, large = found.labels.index(first.product), found.labels.index(first.into)
    forth = int(((found.truth == small) & (found.said == large)).sum())
    back = int(((found.truth == large) & (found.said == small)).sum())
    sizes = [labels.count(first.product), labels.count(first.into)]
    assert first.confused == forth + back
    assert first.share == (forth + back) / sum(sizes)
    assert (first.p, first.p_back) == (forth / sizes[0], back / sizes[1])
    assert sizes[0] <= sizes[1]
    assert {labels[first.photo], labels[first.other]} == {first.product, first.into}
    assert found.truth[first.photo] != found.said[first.photo]


def test_rounds_lower_the_threshold_and_end() -> None:
    vectors, labels, _ = planted()
    begun: list[int] = []
    found = list(merges(vectors, labels, MergeSettings(), progress=begun.append))
    assert begun == list(range(1, len(begun) + 1))
    assert [merge.threshold for merge in found] == sorted((merge.threshold for merge in found), reverse=True)
    assert all(merge.share >= merge.threshold for merge in found)
    assert list(merges(vectors[:5], ["a"] * 5, MergeSettings())) == []


def test_a_gap_is_the_distance_across_without_the_distance_within() -> None:
    rng = np.random.default_rng(6)
    sets = [rng.normal(size=(count, 5)) for count in (4, 7)]
    left, right = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in sets)

    def mean(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
        return float(np.mean([((a - b) ** 2).sum() for a, b in pairs]))

    across = mean([(a, b) for a in left for b in right])
    within = [mean([(one[i], one[j]) for i in range(len(one)) for j in range(i)]) for one in (left, right)]
    found = gap(left.astype(np.float32), right.astype(np.float32))
    assert found == pytest.approx((across - sum(within) / 2) / across, abs=1e-5)
    assert gap(left[:1], right[:1]) == 0
    assert gap(left[[0, 0]], right[[0, 0]]) == pytest.approx(1, abs=1e-6)
