"""Thresholds that keep their promise: against scipy's exact bound, a plain loop, and photos that chose nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, binom

from tests.training.bundle.probabilities.test_calibration import scored
from training.bundle.probabilities.calibration import apply_head, calibrate_head
from training.bundle.probabilities.silence import needed, sentence
from training.bundle.probabilities.thresholds import (
    Evidence,
    least_photos,
    left_out,
    likely,
    lower_bound,
    scarce,
    supported,
    surely,
)


@pytest.mark.parametrize(("right", "offers"), [(30, 30), (90, 100), (460, 500)])
def test_the_bound_lies_between_the_exact_one_and_the_share(right: int, offers: int) -> None:
    found = float(lower_bound(np.array([right]), np.array([offers]))[0])
    exact = float(beta.ppf(0.05, right, offers - right + 1))  # Clopper and Pearson: never too high
    assert exact < found < right / offers
    assert found - exact < 1.5 / offers + 0.01


def test_the_bound_is_rarely_above_the_truth() -> None:
    counts = np.arange(301)
    bounds = lower_bound(counts, np.full(301, 300))
    assert binom.pmf(counts, 300, 0.9)[bounds > 0.9].sum() <= 0.06


def test_the_lowest_threshold_against_a_loop() -> None:
    rng = np.random.default_rng(2)
    said = np.round(rng.random(400), 2)
    correct = rng.random(400) < said
    weight = rng.uniform(0.3, 1, 400)
    good = []
    for t in np.unique(said):
        above = said >= t
        bound = lower_bound(np.array([correct[above].mean() * weight[above].sum()]), np.array([weight[above].sum()]))
        good += [t] if bound[0] >= 0.8 else []
    assert good
    assert surely(Evidence(said, correct, np.ones(400), weight), 0.8) == min(good)


def drawn(n: int, seed: int, flattery: float = 0.0) -> Evidence:
    """n predictions of two decimals that are right as often as they say, or more often by `flattery`."""
    rng = np.random.default_rng(seed)
    said = np.round(rng.random(n), 2)
    return Evidence(said, rng.random(n) < said + flattery, np.ones(n), rng.uniform(0.5, 1, n))


@pytest.mark.parametrize(("few", "flattery"), [(150, 0.0), (150, 0.1), (40, -0.1)])
def test_training_photos_support_validation_photos_against_a_loop(few: int, flattery: float) -> None:
    judged, learnt = drawn(few, 3), drawn(3000, 4, flattery)
    good = []
    for t in np.unique(judged.probability):
        mine, theirs = judged.probability >= t, learnt.probability >= t
        evidence = learnt.weight[theirs].sum()
        bound = lower_bound(np.array([learnt.correct[theirs].mean() * evidence]), np.array([evidence]))[0]
        counted = judged.weight[mine].sum()
        right = judged.correct[mine].mean() * counted
        own = beta.ppf(0.25, right + 0.5, counted - right + 0.5)
        good += [t] if bound >= 0.8 and own >= 0.8 else []
    assert supported(judged, learnt, 0.8) == min(good, default=1.0)
    assert likely(judged, 0.8) <= supported(judged, learnt, 0.8), "they cannot replace the validation photos"


def test_no_training_photos_support_nothing() -> None:
    judged, none = drawn(100, 5), drawn(0, 6)
    assert supported(judged, none, 0.8) == 1.0
    assert supported(none, judged, 0.8) == 1.0


def test_training_photos_are_asked_where_sure_offers_are_much_fewer_than_likely_ones() -> None:
    judged = Evidence(np.linspace(0.01, 1, 100), np.ones(100, np.bool_), np.ones(100), np.ones(100))
    assert not scarce(judged, 0.5, 0.41)  # 51 and 60 offers
    assert scarce(judged, 0.5, 0.35)  # 51 and 66
    assert scarce(judged, 1.0, 0.9), "1 means that nothing is offered"
    assert not scarce(judged, 1.0, 1.0)


def test_too_few_offers_are_never_sure() -> None:
    least = least_photos(0.9)
    for count, sure in ((least - 1, False), (least, True)):
        ones = np.ones(count)
        assert (surely(Evidence(ones * 0.99, ones > 0, ones, ones), 0.9) < 1) is sure


def test_every_photo_is_judged_by_tables_that_did_not_see_it() -> None:
    part = scored(23, 1)

    def fit(some):
        seen = {float(p) for one in some for p in one.predictions.probabilities[:, 0]}
        return lambda left: np.array([[float(row[0]) in seen] * len(row) for row in left.predictions.probabilities])

    (found,) = left_out([part], fit)
    assert found.shape == part.predictions.probabilities.shape
    assert not found.any()


def test_the_promise_holds_on_photos_that_chose_nothing() -> None:
    """Over 20 draws of 600 validation photos, the true precision is below the target in about one of twenty."""
    fresh = scored(20000, 999)
    below = 0
    for seed in range(20):
        head = calibrate_head([scored(600, 200 + seed)], fresh.head, 0.8)
        said = apply_head(head, fresh.predictions.labels, fresh.predictions.probabilities)
        above = said >= head.threshold
        below += bool(above.any() and fresh.correct[above].mean() < 0.8)
    assert below <= 4


def test_a_head_with_few_validation_photos_asks_training_photos() -> None:
    judged, asked = scored(150, 31), []

    def learnt():
        asked.append(1)
        return [scored(3000, 32)]

    alone = calibrate_head([judged], judged.head, 0.8)
    backed = calibrate_head([judged], judged.head, 0.8, learnt=learnt)
    assert asked
    assert 0.5 <= backed.threshold < alone.threshold
    assert backed.calibration == alone.calibration, "training photos flatter, so they fit no table here"
    fresh = scored(20000, 33)
    said = apply_head(backed, fresh.predictions.labels, fresh.predictions.probabilities)
    assert fresh.correct[said >= backed.threshold].mean() >= 0.8


def test_a_head_with_almost_no_validation_photos_has_the_table_of_its_training_photos() -> None:
    few = scored(10, 41)
    made = calibrate_head([few], few.head, 0.8, learnt=lambda: [scored(4000, 42)])
    assert made.threshold == 1.0, "nothing is offered"
    raw = np.array([0.6, 0.8, 0.9])
    assert apply_head(made, np.zeros((1, 3), int), raw[None])[0] == pytest.approx(raw**2, abs=0.05)


def test_a_silent_head_says_how_many_photos_are_missing() -> None:
    assert needed(0.9) == 50
    assert needed(0.99) == least_photos(0.99) > 50
    said = sentence("shop.kind", 12, 0.9)
    assert "12 photos with its labels" in said
    assert "38 more are missing" in said
    assert not sentence("shop.kind", 50, 0.9)
