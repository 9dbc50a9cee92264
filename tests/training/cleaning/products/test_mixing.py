"""Measures of two labels' photos, compared with pairs and divisions that are counted one by one."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from training.cleaning.products.mixing import TYPICAL_PAIRS, chance, gap, steady_gap, typical_spread


def photos(*counts: int, seed: int = 6) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    sets = [rng.normal(size=(count, 5)) for count in counts]
    return [(one / np.linalg.norm(one, axis=1, keepdims=True)).astype(np.float32) for one in sets]


def apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.square(a.astype(float) - b).sum())


def across(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.mean([apart(a, b) for a in left for b in right]))


def within(*sets: np.ndarray) -> list[float]:
    return [apart(a, b) for one in sets for a, b in combinations(one, 2)]


def test_a_gap_is_the_distance_across_without_the_distance_within() -> None:
    left, right = photos(4, 7)
    expected = across(left, right)
    mean = (np.mean(within(left)) + np.mean(within(right))) / 2
    assert gap(left, right) == pytest.approx((expected - mean) / expected, abs=1e-5)
    assert gap(left[:1], right[:1]) == 0
    assert gap(left[[0, 0]], right[[0, 0]]) == pytest.approx(1, abs=1e-6)


def test_a_steady_gap_counts_every_pair_once_and_some_typical_ones() -> None:
    left, right = photos(2, 6)
    pairs = within(left, right) + [1.3] * TYPICAL_PAIRS
    assert steady_gap(left, right, 1.3) == pytest.approx(1 - np.mean(pairs) / across(left, right), abs=1e-5)
    single, other = left[:1], right[:1]
    assert steady_gap(single, other, 1.3) == pytest.approx(1 - 1.3 / apart(single[0], other[0]), abs=1e-5)
    assert steady_gap(single, single, 1.3) == 0


@pytest.mark.parametrize(("one", "other"), [(2, 5), (5, 2), (3, 3), (1, 4), (4, 4)])
def test_chance_is_the_share_of_other_divisions_that_are_as_far_apart(one: int, other: int) -> None:
    for seed in range(5):
        left, right = photos(one, other, seed=seed)
        both, own = np.concatenate([left, right]), frozenset(range(one))
        everyone = frozenset(range(one + other))
        divisions = {frozenset({frozenset(some), everyone - set(some)}) for some in combinations(everyone, one)}
        divisions -= {frozenset({own, everyone - own})}
        far = [
            across(*(both[sorted(part)] for part in division)) >= across(left, right) - 1e-6 for division in divisions
        ]
        assert chance(left, right) == pytest.approx(np.mean(far))


def test_chance_of_two_clusters_is_none_and_of_one_cluster_is_half() -> None:
    rng = np.random.default_rng(3)
    centres = np.eye(8)[[0, 1]]
    rows = np.repeat(centres, 4, axis=0) + rng.normal(size=(8, 8)) * 0.1
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    assert chance(rows[:4], rows[4:]) == 0
    found = [chance(one[:3], one[3:]) for one in (photos(7, seed=seed)[0] for seed in range(200))]
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)


def test_chance_says_nothing_of_two_photos_and_nothing_of_many() -> None:
    left, right = photos(1, 1)
    assert chance(left, right) == 1
    many, more = photos(20, 20)
    assert chance(many, more) == 0
    assert chance(many[[0, 0]], many[[0, 0, 0]]) == 1  # equal photos: all divisions are equal


def test_the_typical_spread_is_the_median_of_labels_with_three_photos() -> None:
    sets = photos(3, 5, 4, 2, 1)
    truth = np.repeat(np.arange(5), [len(one) for one in sets])
    order = np.random.default_rng(1).permutation(len(truth))
    found = typical_spread(np.concatenate(sets)[order], truth[order])
    assert found == pytest.approx(np.median([np.mean(within(one)) for one in sets[:3]]), abs=1e-5)
    pair = np.concatenate(sets[3:])
    assert typical_spread(pair, np.array([0, 0, 1])) == pytest.approx(within(sets[3])[0], abs=1e-5)
    assert typical_spread(pair, np.array([0, 1, 2])) == 0
