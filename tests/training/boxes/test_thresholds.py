"""Thresholds against a search over all scores, on random detections."""

from __future__ import annotations

import numpy as np
import pytest

from training.boxes.labels import Guess, Label
from training.boxes.project import Known
from training.boxes.thresholds import FEWEST, NOTHING, Targets, choose, judge, overlap
from training.detection.records import IGNORED

BOX, ASIDE = (0.1, 0.1, 0.4, 0.4), (0.6, 0.6, 0.9, 0.9)


def _overlap_by_counting(one, other) -> float:
    """On a grid of pixels."""
    grid = np.zeros((2, 200, 200), bool)
    for layer, (left, top, right, bottom) in zip(grid, (one, other), strict=True):
        layer[round(top * 200) : round(bottom * 200), round(left * 200) : round(right * 200)] = True
    return float((grid[0] & grid[1]).sum() / (grid[0] | grid[1]).sum())


def test_overlap_is_that_of_counted_pixels() -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        x, y = np.sort(rng.integers(0, 101, (2, 2, 2)) * 2, axis=1) / 200 + np.array([[[0], [0.0]]] * 2)
        one, other = ((x[0, i], y[0, i], x[1, i] + 0.01, y[1, i] + 0.01) for i in range(2))
        one, other = (tuple(min(1.0, edge) for edge in box) for box in (one, other))
        if min(one[2] - one[0], other[2] - other[0], one[3] - one[1], other[3] - other[1]) > 0:
            assert overlap(one, other) == pytest.approx(_overlap_by_counting(one, other), abs=1e-9)


def test_each_known_box_is_found_once_and_by_its_kind() -> None:
    known = Known(path="a", boxes=(BOX, ASIDE, (0, 0.5, 0.3, 1)), kinds=("mug", "vase", IGNORED))
    guesses = [
        Guess(BOX, "mug", 0.9),
        Guess((0.1, 0.1, 0.4, 0.38), "mug", 0.8),  # the same mug again
        Guess(ASIDE, "mug", 0.7),  # a vase
        Guess(ASIDE, "product", 0.6),  # any product
        Guess((0, 0.5, 0.3, 0.9), "mug", 0.5),  # on the ignored box: it does not count
    ]
    assert judge(guesses[::-1], known) == [(0.9, True), (0.8, False), (0.7, False), (0.6, True)]


@pytest.mark.parametrize("seed", range(6))
def test_thresholds_are_those_of_a_search_over_all_scores(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, known, pairs = {}, {}, []
    for n in range(60):
        score = round(float(rng.uniform(0.05, 1)), 2)  # equal scores occur
        right = bool(rng.random() < score**0.5)
        labels[str(n)] = Label(path=str(n), guesses=(Guess(BOX if right else ASIDE, "mug", score),))
        known[str(n)] = Known(path=str(n), boxes=(BOX,), kinds=("mug",))
        pairs.append((score, right))
    targets = Targets(precision=0.9, lost=0.05)
    found = choose(labels, known, targets)
    good = [
        t
        for t in {score for score, _ in pairs}
        if len(above := [right for score, right in pairs if score >= t]) >= FEWEST and np.mean(above) >= 0.9
    ]
    assert found.keep == min(good, default=NOTHING)
    right_scores = [score for score, right in pairs if right]
    lowest = max(t for t in right_scores if sum(score < t for score in right_scores) <= 0.05 * len(right_scores))
    assert found.drop == min(found.keep, lowest)
    effort = {t: sum(right != (score >= t) for score, right in pairs) for t in sorted({score for score, _ in pairs})}
    assert effort[found.show] == min(effort.values()) or found.show == found.keep
    assert found.kept == sum(score >= found.keep for score, _ in pairs)
    assert found.right == sum(right for score, right in pairs if score >= found.keep)
    assert (found.photos, found.boxes) == (60, 60)


def test_nothing_is_kept_where_no_score_is_good_enough() -> None:
    labels = {str(n): Label(path=str(n), guesses=(Guess(ASIDE, "mug", 0.9),)) for n in range(20)}
    known = {str(n): Known(path=str(n), boxes=(BOX,), kinds=("mug",)) for n in range(20)}
    found = choose(labels, known, Targets())
    assert (found.keep, found.drop, found.kept) == (NOTHING, 0.0, 0)
    assert found.show == NOTHING
    nobody = choose({"a": Label(path="a", error="cannot be read")}, {"a": known["0"]}, Targets())
    assert (nobody.keep, nobody.photos) == (NOTHING, 0)
