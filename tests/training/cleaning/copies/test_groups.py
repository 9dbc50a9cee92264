"""Which photos of a large group are compared, against sets of numbers."""

from __future__ import annotations

import random

import numpy as np
import pytest

from training.cleaning.copies.groups import NOBODY_SAID, Groups
from training.cleaning.copies.near_pairs import Pair


@pytest.mark.parametrize("seed", range(6))
def test_links_against_sets(seed: int) -> None:
    """The naive twin: groups and twins by repeated joining of sets, neighbours by looking at every pair."""
    draw = random.Random(seed)
    count = 60
    groups, sets = Groups(count), [{i} for i in range(count)]
    twins = [{i} for i in range(count)]
    pairs: list[Pair] = []

    def joined(of: list[set[int]], one: int, other: int) -> list[set[int]]:
        both = [some for some in of if one in some or other in some]
        return [some for some in of if some not in both] + [set[int]().union(*both)]

    for _ in range(6):
        one, other = draw.sample(range(count), 2)
        groups.same_bytes(one, other)
        sets, twins = joined(sets, one, other), joined(twins, one, other)
    for _ in range(45):
        one, other = draw.sample(range(count), 2)
        pair = Pair(one, other, draw.choice([0, 3, 9, 20, 31]), round(draw.uniform(0.75, 1), 3))
        pairs.append(pair)
        groups.pair(pair)
        sets = joined(sets, one, other)
        twins = joined(twins, one, other) if pair.bits == 0 else twins
    several = list(groups.of_several())
    assert several == sorted(sorted(some) for some in sets if len(some) > 1)
    twins_of = {photo: some for some in twins for photo in some}
    for members in several:
        links = groups.links(members)
        assert links.members.tolist() == members
        for i, photo in enumerate(members):
            near = set(twins_of[photo])
            for pair in pairs:
                if pair.left in twins_of[photo]:
                    near |= twins_of[pair.right]
                if pair.right in twins_of[photo]:
                    near |= twins_of[pair.left]
            assert sorted(members[j] for j in links.near(i).tolist()) == sorted(near - {photo})
            said = links.likeness(i, np.arange(len(members)))
            for j, other in enumerate(members):
                told = [pair.likeness for pair in pairs if {pair.left, pair.right} == {photo, other}]
                assert said[j] == pytest.approx(max(told) if told and i != j else NOBODY_SAID)


def test_a_group_of_equal_bytes_alone_has_no_pairs() -> None:
    groups = Groups(3)
    groups.same_bytes(0, 2)
    links = groups.links([0, 2])
    assert links.near(0).tolist() == [1]
    assert links.likeness(0, links.near(0)).tolist() == [NOBODY_SAID]
