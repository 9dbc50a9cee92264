"""A point and an interval for one more price, from weighted prices on a log scale.

Prices that are far from the others are left out first. The rest gives a prediction interval of Student's t, with the
effective number of prices in the place of their number. An interval of quantiles was the other choice: it needs 19
prices before its two ends are prices that were seen, and docs/benchmarks/products_prices.md compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

COVERAGE = 0.90
"""The share of new prices that the interval has."""
_FAR = 4.0  # robust standard deviations from the median; 1 of 16,000 normal values is farther
_NEVER_FAR = math.log(3)  # a price within a factor of 3 of the median stays, because few prices have a vague spread
_PER_DEVIATION = 1.4826  # a normal distribution's standard deviation, in median absolute deviations
_LEAST_SPREAD = 0.01  # 1 %: equal prices by chance do not make the next price certain
_LEAST_FREEDOM = 5
_LEAST_BETWEEN = 0.05  # share of the variance: neighbours are never taken for the product itself
_LEAST_EFFECTIVE = 3.0  # below it the quantile of t explodes

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """Natural logarithms of amounts. `kept` has the places of the prices that count; the others are too far away.
    `spread` is the standard deviation of these prices, `effective` their effective number."""

    point: float
    low: float
    high: float
    kept: tuple[int, ...]
    spread: float
    effective: float


def interval_of(logs: Sequence[float], weights: Sequence[float], coverage: float = COVERAGE) -> Interval | None:
    """The interval that has the next price with probability `coverage`, and the middle of the prices.

    Args:
        logs: natural logarithms of amounts, [n].
        weights: how much each counts, above 0, [n].

    Returns:
        None if the prices that are not far away count as fewer than three.
    """
    if not logs:
        return None
    values, heavy = np.asarray(logs, np.float64), np.asarray(weights, np.float64)
    kept = np.flatnonzero(near(values, heavy))
    values, heavy = values[kept], heavy[kept]
    total, squares = float(heavy.sum()), float((heavy**2).sum())
    effective = total**2 / squares
    if effective < _LEAST_EFFECTIVE:
        return None
    mean = float((heavy * values).sum()) / total
    # Unbiased with weights that say how much a value counts: the sum of squares over W - sum(w^2) / W.
    variance = float((heavy * (values - mean) ** 2).sum()) / (total - squares / total)
    spread = max(math.sqrt(variance), _LEAST_SPREAD)
    half = student((1 + coverage) / 2, effective - 1) * spread * math.sqrt(1 + 1 / effective)
    places = tuple(int(place) for place in kept)
    return Interval(mean, mean - half, mean + half, places, spread, effective)


@dataclass(frozen=True, slots=True)
class Within:
    """How much the prices of one product differ: the standard deviation of logarithms, and its degrees of freedom."""

    spread: float
    freedom: int


def within_of(groups: Iterable[Sequence[float]]) -> Within | None:
    """The spread within products, pooled over groups of log prices, one group a product. None below 5 degrees of
    freedom, which the prices of 5 products with two sellers have."""
    squares, freedom = 0.0, 0
    for logs in groups:
        squares += float(np.sum((np.asarray(logs) - np.mean(logs)) ** 2))
        freedom += len(logs) - 1
    if freedom < _LEAST_FREEDOM:
        return None
    return Within(max(math.sqrt(squares / freedom), _LEAST_SPREAD), freedom)


def between(own: Sequence[float], others: Interval, within: Within, coverage: float = COVERAGE) -> Interval:
    """The interval of a product with few log prices `own`, and with neighbours that have the interval `others`.

    Products' middles vary around that of the neighbours. Between the two lies the best linear prediction (Robinson
    1991): own prices count by their number over the spread within a product, the neighbours' middle by one over the
    spread between products. `kept` is empty.
    """
    variance = within.spread**2
    apart = max(others.spread**2 - variance, _LEAST_BETWEEN * others.spread**2) + others.spread**2 / others.effective
    certainty = len(own) / variance + 1 / apart
    point = (sum(own) / variance + others.point / apart) / certainty
    spread = math.sqrt(variance + 1 / certainty)
    half = student((1 + coverage) / 2, min(within.freedom, others.effective - 1)) * spread
    return Interval(point, point - half, point + half, (), spread, others.effective)


def near(values: Floats, weights: Floats) -> NDArray[np.bool_]:
    """Which of the log prices [n] are not far from the weighted median, bool [n]: within a factor of 3, or within 4
    robust standard deviations (Hampel's rule, by the weighted median of absolute deviations)."""
    apart = np.abs(values - weighted_median(values, weights))
    spread = _PER_DEVIATION * weighted_median(apart, weights)
    close: NDArray[np.bool_] = apart <= max(_NEVER_FAR, _FAR * spread)
    return close


def weighted_median(values: Floats, weights: Floats) -> float:
    """The value at which half of the weight is reached; the mean of two if it is reached exactly between them."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    place = int(np.searchsorted(reached, reached[-1] / 2))
    value = float(values[order[place]])
    if math.isclose(reached[place], reached[-1] / 2, rel_tol=1e-9) and place + 1 < len(order):
        return (value + float(values[order[place + 1]])) / 2
    return value


def student(share: float, freedom: float) -> float:
    """The quantile of Student's t at `share` (above one half) for `freedom` degrees of freedom, at least 2, which need
    not be a whole number (Hill 1970, algorithm 396 of the ACM; four digits)."""
    if freedom < 2:
        raise ValueError(f"freedom: {freedom:g} degrees of freedom; at least 2")
    two_sided = 2 * (1 - share)
    if math.isclose(freedom, 2):
        return math.sqrt(2 / (two_sided * (2 - two_sided)) - 2)
    a = 1 / (freedom - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * freedom
    x = d * two_sided
    y = x ** (2 / freedom)
    if y > 0.05 + a:
        x = NormalDist().inv_cdf(two_sided / 2)
        y = x**2
        if freedom < 5:
            c += 0.3 * (freedom - 4.5) * (x + 0.6)
        c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y**2)
    else:
        first = 1 / (((freedom + 6) / (freedom * y) - 0.089 * d - 0.822) * (freedom + 2) * 3)
        y = ((first + 0.5 / (freedom + 4)) * y - 1) * (freedom + 1) / (freedom + 2) + 1 / y
    return math.sqrt(freedom * y)
