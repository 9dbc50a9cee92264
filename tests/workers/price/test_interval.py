"""The statistics of an interval, against tables and formulas worked out another way."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from workers.price.interval import between, interval_of, near, student, weighted_median, within_of

# 95 % quantiles of Student's t, from a printed table
TABLE = {2: 2.920, 3: 2.353, 4: 2.132, 5: 2.015, 9: 1.833, 14: 1.761, 29: 1.699, 120: 1.658}


@pytest.mark.parametrize(("freedom", "quantile"), TABLE.items())
def test_quantiles_of_t_are_those_of_the_table(freedom: int, quantile: float) -> None:
    assert student(0.95, freedom) == pytest.approx(quantile, abs=6e-4)


def test_the_quantile_falls_with_freedom_and_needs_two_degrees() -> None:
    found = [student(0.95, freedom) for freedom in np.linspace(2, 40, 77)]
    assert found == sorted(found, reverse=True)
    with pytest.raises(ValueError, match="freedom"):
        student(0.95, 1.5)


def test_equal_weights_give_the_textbook_interval() -> None:
    """x ± t(0.95, n - 1) · s · sqrt(1 + 1/n), by the standard library."""
    logs = [2.0, 2.2, 1.9, 2.4, 2.1, 2.05]
    found = interval_of(logs, [0.3] * 6)
    assert found is not None
    half = 2.0150 * statistics.stdev(logs) * math.sqrt(1 + 1 / 6)
    assert found.point == pytest.approx(statistics.mean(logs))
    assert (found.low, found.high) == (
        pytest.approx(found.point - half, abs=1e-4),
        pytest.approx(found.point + half, abs=1e-4),
    )
    assert found.kept == tuple(range(6))


def test_a_weight_counts_as_repeated_values_in_the_middle() -> None:
    found = interval_of([1.0, 1.5, 2.0, 1.2], [3.0, 1.0, 1.0, 1.0])
    assert found is not None
    assert found.point == pytest.approx(statistics.mean([1.0, 1.0, 1.0, 1.5, 2.0, 1.2]))
    assert found.effective == pytest.approx(36 / 12)


def test_absurd_prices_change_nothing() -> None:
    logs = [math.log(price) for price in (9.5, 10, 10.5, 11, 12, 9)]
    alone = interval_of(logs, [1] * 6)
    among = interval_of([math.log(0.01), *logs, math.log(999_999)], [1] * 8)
    assert alone is not None
    assert among is not None
    assert (among.low, among.point, among.high) == (alone.low, alone.point, alone.high)
    assert among.kept == (1, 2, 3, 4, 5, 6)


def test_a_price_within_a_factor_of_three_is_never_far() -> None:
    equal = np.log([10.0] * 9)
    assert near(np.append(equal, math.log(29.9)), np.ones(10)).all()
    assert not near(np.append(equal, math.log(30.1)), np.ones(10))[-1]


@pytest.mark.parametrize("seed", range(20))
def test_the_weighted_median_is_the_median_of_repeated_values(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, weights = rng.normal(size=7), rng.integers(1, 5, 7)
    repeated = np.repeat(values, weights)
    assert weighted_median(values, weights.astype(float)) == pytest.approx(statistics.median(repeated.tolist()))


def test_too_few_prices_have_no_interval() -> None:
    assert interval_of([], []) is None
    assert interval_of([1.0, 1.1], [1, 1]) is None
    assert interval_of([1.0, 1.1, 1.2, 1.3], [1, 0.01, 0.01, 0.01]) is None, "one price counts nearly alone"


def test_equal_prices_leave_a_percent_of_doubt() -> None:
    found = interval_of([2.0] * 8, [1.0] * 8)
    assert found is not None
    assert 0.01 < found.high - found.point < 0.03


def test_the_spread_within_products_is_pooled() -> None:
    groups = [[1.0, 1.4], [5.0, 5.2, 5.4], [9.0, 9.2], [3.0, 3.0], [2.0, 2.1]]
    squares = 0.08 + 0.08 + 0.02 + 0 + 0.005  # of each group around its mean, by hand
    found = within_of(groups)
    assert found is not None
    assert found.freedom == 6
    assert found.spread == pytest.approx(math.sqrt(squares / 6))
    assert within_of(groups[:3]) is None, "4 degrees of freedom are too few"


def test_own_prices_pull_the_interval_towards_them_the_more_of_them_there_are() -> None:
    rng = np.random.default_rng(1)
    others = interval_of(rng.normal(3.0, 0.5, 30).tolist(), [1.0] * 30)
    within = within_of([[0.0, 0.14]] * 40)
    assert others is not None
    assert within is not None
    points = [between([4.0] * count, others, within).point for count in (1, 2, 4, 50)]
    assert points == sorted(points)
    assert others.point < points[0] < 4.0
    assert points[-1] == pytest.approx(4.0, abs=0.01)
    many = between([4.0] * 50, others, within)
    assert many.high - many.low == pytest.approx(2 * student(0.95, 29) * within.spread, rel=0.02)
