"""Batch sizes: which are valid, and which one a batch uses."""

from __future__ import annotations

import pytest

from engines.gpu.profiles import Profiles
from schemas.errors import ConfigError


@pytest.mark.parametrize(("count", "place"), [(1, 0), (2, 1), (8, 1), (9, 2), (32, 2)])
def test_the_smallest_profile_that_takes_a_batch(count: int, place: int) -> None:
    assert Profiles().choose(count) == place


@pytest.mark.parametrize("text", ["", "8,1", "1,1", "0,2", "x", "1,2000", "1, 8,"])
def test_batch_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="--batch"):
        Profiles.parse(text)


@pytest.mark.parametrize("count", [0, 33])
def test_no_profile_takes_it(count: int) -> None:
    with pytest.raises(ValueError, match=r"not 1\.\.32"):
        Profiles().choose(count)
