"""Sorting part by part against sorting at once."""

from __future__ import annotations

import numpy as np
import pytest

from training.cleaning.copies import large_arrays
from training.cleaning.copies.large_arrays import first_of_equal, ranks, slices


@pytest.mark.parametrize("count", [0, 1, 50, 1000])
def test_the_first_of_equal_rows_is_that_of_unique(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_arrays, "AT_ONCE", 64)  # so 1,000 rows are sorted in 16 parts
    rng = np.random.default_rng(count)
    rows = rng.integers(0, 5, (count, 3)).astype(np.uint64) << np.uint64(60)
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    assert first_of_equal(rows).tolist() == (first[inverse.ravel()].tolist() if count else [])


def test_ranks_count_the_equal_numbers_before() -> None:
    assert ranks(np.array([3, 3, 3, 5, 7, 7])).tolist() == [0, 1, 2, 0, 0, 1]
    assert ranks(np.empty(0, np.int64)).tolist() == []


def test_slices_are_all_rows_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_arrays, "AT_ONCE", 4)
    assert [(some.start, some.stop) for some in slices(9)] == [(0, 4), (4, 8), (8, 9)]
