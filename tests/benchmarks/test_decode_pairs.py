"""The bound of the median: by counting all equally likely signs."""

from __future__ import annotations

from itertools import product

import pytest

from benchmarks.engine.decode_pairs import median_with_bound


@pytest.mark.parametrize("count", [5, 9, 15])
def test_the_true_median_is_below_the_bound_in_at_most_five_percent(count: int) -> None:
    """Values are above or below the true median with equal chance: count all 2^n cases, where the median is 0."""
    above = sum(
        median_with_bound([i + 1 if s else -i - 1 for i, s in enumerate(signs)])[1] > 0 for signs in _signs(count)
    )
    assert above / 2**count <= 0.05
    median, bound = median_with_bound(list(range(count)))
    assert (median, bound < median) == (count // 2, True)


def _signs(count: int) -> list[tuple[bool, ...]]:
    return list(product((False, True), repeat=count))
