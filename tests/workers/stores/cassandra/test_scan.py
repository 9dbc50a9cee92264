"""Ids by token become ids in order, whatever the tokens, the runs and the pages."""

from __future__ import annotations

import random

import pytest

from schemas.errors import Transient
from workers.stores.cassandra._scan import SortedIds


def reader(ring: list[tuple[int, str]]):
    def read(token: int, last: int, count: int) -> list[tuple[str, int]]:
        return [(name, at) for at, name in ring if token < at <= last][:count]

    return read


@pytest.mark.parametrize(("count", "run"), [(0, 10), (1, 10), (5000, 10**6), (5000, 700), (5000, 5000)])
def test_all_ids_come_once_and_in_order(count: int, run: int) -> None:
    rng = random.Random(count + run)
    names = {f"l{rng.randrange(10**9)}" for _ in range(count)}
    ends = [-(2**63) + 1, 2**63 - 1]  # the first and the last token that a key can have
    tokens = [*ends, *(rng.randrange(-(2**63) + 2, 2**63 - 1) for _ in names)][: len(names)]
    with SortedIds(reader(sorted(zip(tokens, names, strict=True))), run) as ids:
        pages = list(ids.pages(64))
    assert [name for page in pages for name in page] == sorted(names)
    assert all(len(page) == 64 for page in pages[:-1])


def test_a_range_with_more_ids_than_one_read_takes_is_read_on() -> None:
    ring = [(at, f"l{at:05d}") for at in range(1, 6001)]  # all in one of the ranges
    with SortedIds(reader(ring)) as ids:
        assert [name for page in ids.pages(1000) for name in page] == [name for _, name in ring]


def test_a_failure_while_reading_is_the_callers() -> None:
    def read(token: int, last: int, count: int) -> list[tuple[str, int]]:
        raise Transient("store", "read_timeout", "late")

    with pytest.raises(Transient), SortedIds(read):
        pass
