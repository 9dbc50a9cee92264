"""The counts of occasions, against a naive twin that looks at all of them."""

from __future__ import annotations

import random

import pytest

from schemas.occasions import Occasion
from workers.together.counts import Counts, Pair


def occasion(name: str, time: int, *listing_ids: str) -> Occasion:
    return Occasion(occasion_id=name, kind="cart", listing_ids=list(listing_ids), event_time=time)


class Naive:
    """Every occasion in a dictionary."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[int, list[str]]] = {}

    def pairs(self, asked: list[str]) -> list[Pair]:
        baskets = [set(listings) for _, listings in self.held.values()]
        everything = sorted(set().union(*baskets)) if baskets else []
        found = []
        for other in everything:
            together = sum(1 for one in baskets if other in one and one & (set(asked) - {other}))
            if together:
                found.append(Pair(other, together, sum(other in one for one in baskets)))
        return found


@pytest.mark.parametrize("seed", range(8))
def test_any_order_of_occasions_gives_the_counts_of_the_naive_twin(seed: int) -> None:
    rng = random.Random(seed)
    counts, naive = Counts(1_000), Naive()
    ids = [f"l{i}" for i in range(12)]
    for step in range(300):
        name, time = f"o{rng.randrange(60)}", rng.randrange(1, 1_000)
        if rng.random() < 0.1:
            assert counts.withdraw(name) == (naive.held.pop(name, None) is not None)
        elif rng.random() < 0.03:
            limit = rng.randrange(200)
            counts.expire(limit)
            naive.held = {key: one for key, one in naive.held.items() if one[0] >= limit}
        else:
            listings = rng.sample(ids, rng.randrange(2, 6))
            before = naive.held.get(name)
            newer = before is None or (time, listings) > before
            assert counts.add(occasion(name, time, *listings)) == newer
            if newer:
                naive.held[name] = (time, listings)
        if step % 10 == 0:
            asked = rng.sample(ids, rng.randrange(1, 4))
            assert counts.pairs(asked) == naive.pairs(asked)
            assert len(counts) == len(naive.held)


def test_sending_an_occasion_again_changes_nothing() -> None:
    counts = Counts(10)
    one = occasion("a", 5, "x", "y")
    assert [counts.add(one), counts.add(one), counts.add(occasion("a", 4, "x", "z"))] == [True, False, False]
    assert counts.pairs(["x"]) == [Pair("y", 1, 1)]


def test_the_oldest_occasions_leave_first() -> None:
    counts = Counts(3)
    for time in (7, 3, 9, 5, 8):
        counts.add(occasion(f"o{time}", time, "x", f"y{time}"))
    assert [pair.listing_id for pair in counts.pairs(["x"])] == ["y7", "y8", "y9"]


def test_a_removed_listing_leaves_what_was_before_its_removal_and_stays_away() -> None:
    counts = Counts(10)
    first, later = occasion("a", 5, "x", "gone", "y"), occasion("b", 9, "x", "gone")
    counts.add(first)
    counts.add(later)
    counts.forget("gone", 5)
    assert counts.pairs(["x"]) == [Pair("gone", 1, 1), Pair("y", 1, 1)]
    counts.add(first)
    assert counts.pairs(["gone"]) == [Pair("x", 1, 2)], "the same occasion again does not bring it back"
    counts.forget("gone", 9)
    assert counts.occasions("gone") == 0
    assert counts.pairs(["x"]) == [Pair("y", 1, 1)]


def test_what_is_replaced_over_and_over_takes_no_room() -> None:
    counts = Counts(10)
    for time in range(1, 5_000):
        counts.add(occasion("a", time, "x", f"y{time}"))
    assert counts.pairs(["x"]) == [Pair("y4999", 1, 1)]
    assert len(counts._ages) < 2_000
    counts.clear()
    assert (len(counts), counts.pairs(["x"])) == (0, [])


def test_some_listings_are_left_out_and_an_occasion_of_several_counts_once() -> None:
    counts = Counts(10)
    counts.add(occasion("a", 1, "x", "x2", "y", "z"))
    counts.add(occasion("b", 2, "x2", "y"))
    assert counts.pairs(["x", "x2"], without={"z"}) == [Pair("x", 1, 1), Pair("x2", 1, 2), Pair("y", 2, 2)]
