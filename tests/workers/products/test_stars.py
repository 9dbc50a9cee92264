"""Stars against the naive twin, and what chains and contradictions do."""

from __future__ import annotations

import random

import pytest

from tests.workers.products.shop import Shop, naive_contradiction, naive_groups, naive_links
from workers.products.stars import components, stars


def test_a_chain_does_not_become_one_product() -> None:
    """a – b – … – h: every listing of a group is linked with its centre, so a group has at most three of them."""
    names = "abcdefgh"
    links = {one: {other for other in names if abs(ord(one) - ord(other)) == 1} for one in names}
    (whole,) = components("d", links.__getitem__)
    assert whole == links
    groups = stars(links, lambda *_: True)
    assert sorted(one for group in groups for one in group) == list(names)
    assert max(len(group) for group in groups) == 3
    assert groups[0] == ["a", "b", "c"], "of equal centres the smallest id is first"


def test_the_listing_with_the_most_links_is_the_centre_and_contradicting_ones_stay_apart() -> None:
    links = {"a": {"z"}, "b": {"z"}, "c": {"z"}, "z": {"a", "b", "c"}}
    assert stars(links, lambda *_: True) == [["a", "b", "c", "z"]]
    assert stars(links, lambda one, other: {one, other} != {"a", "c"}) == [["a", "b", "z"], ["c"]]


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_those_of_the_naive_twin_in_whatever_order_the_links_come(seed: int) -> None:
    draw = random.Random(seed)
    shop = Shop(draw)
    for number in range(40):
        made = shop.message(number)
        shop.live[made.listing_id] = made
    raw = naive_links(shop.live, 10, 12)

    def agree(one: str, other: str) -> bool:
        return not naive_contradiction(shop.live[one], shop.live[other])

    links = {one: {other for other in linked if agree(one, other)} for one, linked in raw.items()}
    expected = naive_groups(shop.live, 10, 12)
    assert any(len(group) > 2 for group in expected)
    names = list(links)
    for _ in range(3):
        draw.shuffle(names)
        shuffled = {name: links[name] for name in names}
        found = [group for part in components(names, links.__getitem__) for group in stars(part, agree)]
        assert {frozenset(group) for group in found} == expected
        assert {frozenset(group) for group in stars(shuffled, agree)} == expected
