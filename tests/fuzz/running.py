"""Runs a check on inputs that hypothesis makes up, for as long as you like.

`python -m tests.fuzz.NAME --seconds 600`
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import hypothesis
from hypothesis import HealthCheck, given
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")
_ROUND = 400  # inputs between two looks at the clock


def fuzz(inputs: SearchStrategy[T], check: Callable[[T], str], for_s: float) -> Counter[str]:
    """Check inputs until the time is over. `check` returns how an input ended, or raises. Returns the ends, counted.

    Raises:
        Exception: what `check` raised for the smallest input that hypothesis found; it prints that input.
    """
    ends: Counter[str] = Counter()
    until, number = time.monotonic() + for_s, 0
    while time.monotonic() < until:
        number += 1

        @hypothesis.seed(number)
        @hypothesis.settings(max_examples=_ROUND, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(inputs)
        def one(case: T) -> None:
            if time.monotonic() < until:
                ends[check(case)] += 1

        one()
    return ends


def seconds() -> float:
    """How long to go on, from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600.0)
    chosen: float = parser.parse_args().seconds
    return chosen


def main(inputs: SearchStrategy[T], check: Callable[[T], str]) -> None:
    """The command line of a fuzzer."""
    ends = fuzz(inputs, check, seconds())
    print(f"{ends.total()} inputs: {', '.join(f'{count} {end}' for end, count in ends.most_common(12))}")
