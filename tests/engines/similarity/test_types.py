"""Filters, and the limits of an index that are refused."""

from __future__ import annotations

import pytest

from engines.similarity.types import IndexLimits, Where
from schemas.errors import ConfigError


def test_a_filter_admits_what_both_of_its_sides_admit() -> None:
    categories = (None, frozenset(), frozenset({"mugs"}), frozenset({"mugs", "cups"}))
    states = (None, frozenset({"new"}))
    for c in categories:
        for s in states:
            for category in ("mugs", "cups", None):
                for state in ("new", "sold"):
                    expected = (c is None or category in c) and not (s is not None and state != "new")
                    assert Where(c, s).admits(state, category) == expected, (c, s, category, state)


@pytest.mark.parametrize("field", ["threads", "max_pending", "max_tombstones", "max_removed", "exact_below"])
def test_limits_are_at_least_one(field: str) -> None:
    assert getattr(IndexLimits(**{field: 1}), field) == 1
    with pytest.raises(ConfigError, match=f"{field}: 0 is below 1"):
        IndexLimits(**{field: 0})


@pytest.mark.parametrize("field", ["multihash_from", "probes"])
def test_nought_turns_some_off_and_less_is_refused(field: str) -> None:
    assert getattr(IndexLimits(**{field: 0}), field) == 0
    with pytest.raises(ConfigError, match=field):
        IndexLimits(**{field: -1})
