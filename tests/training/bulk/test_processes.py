"""Work on a pool of processes: order, crashes, errors, and how far it reads ahead."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from training.bulk import Died, run_on_processes
from training.bulk.processes import AHEAD


def square(number: int) -> int:
    if number in (13, 40):
        os._exit(3)
    if number < 0:
        raise ValueError("number: below 0")
    return number * number


def test_one_process_reads_no_further_than_it_must() -> None:
    read: list[int] = []

    def jobs() -> Iterator[int]:
        for number in range(100):
            read.append(number)
            yield number

    made = run_on_processes(square, jobs(), processes=1, chunk=2)
    assert [next(made) for _ in range(4)] == [0, 1, 4, 9]
    assert len(read) == 4


@pytest.mark.slow
def test_results_are_in_order_and_a_crash_costs_its_own_item_alone() -> None:
    read: list[int] = []

    def jobs() -> Iterator[int]:
        for number in range(60):
            read.append(number)
            yield number

    made = run_on_processes(square, jobs(), processes=2, chunk=3)
    first = next(made)
    assert len(read) <= 3 * (2 * AHEAD + 1)
    assert [first, *made] == [Died(n) if n in (13, 40) else n * n for n in range(60)]
    with pytest.raises(ValueError, match="below 0"):
        list(run_on_processes(square, [1, -1], processes=2))
