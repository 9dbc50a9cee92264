"""The vote of the detector's class and the nearest listings, against the formula by hand."""

from __future__ import annotations

import math

import pytest

from workers.search.find.labels.category_vote import ANY_KIND, vote_with_class
from workers.search.find.labels.vote import VOTERS, Ballot

NEAR = [
    Ballot("a", "food / Milk", 10),
    Ballot("b", "food / Juice", 14),
    Ballot("c", None, 5),
    Ballot("d", "food / Milk", 18),
]


def shares(found) -> dict[str, float]:
    return {one.category: one.share for one in found}


def test_class_and_neighbours_share_the_vote_as_weighted() -> None:
    weights = [1, math.exp(-1), math.exp(-2)]
    milk = (weights[0] + weights[2]) / sum(weights)
    mine = 0.4 * 0.9
    most = mine + 0.6
    found = vote_with_class("juice", 0.9, NEAR, 0.4)
    assert shares(found) == {
        "food / Milk": pytest.approx(0.6 * milk / most, abs=1e-4),
        "food / Juice": pytest.approx((0.6 * (1 - milk) + mine) / most, abs=1e-4),
    }
    assert sum(shares(found).values()) == pytest.approx(1, abs=2e-4)
    assert found[0].share >= found[1].share
    assert {one.category: one.detector for one in found} == {"food / Milk": 0.0, "food / Juice": 0.9}


def test_a_class_that_no_neighbour_has_is_a_category_of_its_own() -> None:
    assert shares(vote_with_class("tea", 0.8, NEAR, 0.5))["tea"] == pytest.approx(0.4 / 0.9, abs=1e-4)
    assert shares(vote_with_class("tea", 0.8, [], 0.5)) == {"tea": 1.0}


@pytest.mark.parametrize("kind", [None, ANY_KIND])
def test_a_box_without_a_class_leaves_the_vote_to_the_neighbours(kind) -> None:
    found = vote_with_class(kind, 0.9, NEAR, 0.4)
    assert shares(found) == {one.category: pytest.approx(one.neighbours, abs=1e-4) for one in found}
    assert vote_with_class(kind, 0.9, [], 0.4) == []


def test_the_twenty_nearest_vote_in_any_order() -> None:
    ballots = [Ballot(f"{i:02}", f"c{i}", i) for i in range(VOTERS + 5)]
    assert vote_with_class(None, 0, ballots, 0.3) == vote_with_class(None, 0, ballots[::-1], 0.3)
    assert len(vote_with_class(None, 0, ballots, 0.3)) == VOTERS
