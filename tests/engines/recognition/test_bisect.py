"""Halving a batch blames the photos that fail, and no others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from engines.recognition import build_engine
from engines.recognition.bisect import run_halving
from schemas.errors import DeviceLost, Invalid
from tests.engines.tiny_bundle import SIZE


def refused(photo: int, error: Exception) -> Invalid:
    return Invalid("engine", "engine_failed", f"photo {photo}: {error}")


class Squares:
    """An engine whose answer is known: the square of each number; it fails on batches that hold a bad one."""

    def __init__(self, bad: set[int], error: type[Exception] = RuntimeError) -> None:
        self.bad, self.error = bad, error
        self.batches: list[list[int]] = []

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        if self.bad & set(items):
            raise self.error("a photo is bad") if self.error is not Invalid else Invalid("engine", "non_finite", "nan")
        return [item * item for item in items]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("bad", [set(), {0}, {2}, {0, 6}, set(range(8))])
def test_each_bad_photo_is_blamed_and_no_other(count: int, bad: set[int]) -> None:
    outcomes = run_halving(range(count), Squares(bad), alone=refused, halve_on=Exception)
    assert [isinstance(outcome, Invalid) for outcome in outcomes] == [i in bad for i in range(count)]
    assert [outcome for outcome in outcomes if not isinstance(outcome, Invalid)] == [
        i * i for i in range(count) if i not in bad
    ]


def test_a_good_batch_runs_once_and_an_empty_one_not_at_all() -> None:
    engine = Squares(set())
    assert run_halving([3, 4], engine, alone=refused) == [9, 16]
    assert run_halving([], engine, alone=refused) == []
    assert engine.batches == [[3, 4]]


def test_one_bad_photo_of_eight_costs_seven_runs() -> None:
    """The whole, then two halves at each of the three levels down to the bad photo."""
    engine = Squares({5})
    run_halving(range(8), engine, alone=refused, halve_on=Exception)
    assert engine.batches == [[*range(8)], [0, 1, 2, 3], [4, 5, 6, 7], [4, 5], [4], [5], [6, 7]]


def test_an_error_that_no_photo_causes_is_raised_at_once() -> None:
    engine = Squares({1}, RuntimeError)
    with pytest.raises(RuntimeError, match="a photo is bad"):
        run_halving(range(4), engine, alone=refused)  # only Invalid is halved unless the caller says otherwise
    assert len(engine.batches) == 1


def test_a_lost_device_is_raised_whatever_is_halved() -> None:
    engine = Squares({1}, DeviceLost)
    with pytest.raises(DeviceLost):
        run_halving(range(4), engine, alone=refused, halve_on=Exception)
    assert len(engine.batches) == 1


def test_alone_may_say_that_the_engine_is_sick() -> None:
    def sick(photo: int, error: Exception) -> Invalid:
        raise RuntimeError(f"the engine fails its own parity photos ({error})") from error

    with pytest.raises(RuntimeError, match="its own parity photos"):
        run_halving(range(4), Squares({2}), alone=sick, halve_on=Exception)


def test_a_wrong_number_of_results_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="1 results for 2 photos"):
        run_halving([1, 2], lambda items: items[:1], alone=refused)


def test_a_photo_that_gives_not_a_number_is_found_in_a_real_batch(tiny: Path) -> None:
    """The tiny bundle divides by a black photo's length, which is 0."""
    engine = build_engine(tiny, max_batch=8)
    photos = np.random.default_rng(3).integers(1, 256, (5, SIZE, SIZE, 3), np.uint8)
    photos[3] = 0
    expected = [engine.infer(photos[i : i + 1]).hash_hex(0) if i != 3 else None for i in range(5)]

    def hashes(indices: Sequence[int]) -> list[str]:
        found = engine.infer(photos[list(indices)])
        return [found.hash_hex(i) for i in range(len(indices))]

    outcomes = run_halving(range(5), hashes, alone=lambda photo, error: Invalid("engine", "non_finite", str(error)))
    assert [None if isinstance(outcome, Invalid) else outcome for outcome in outcomes] == expected
