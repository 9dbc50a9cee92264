"""Which photos of a large group are compared, against sets of numbers."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from training.cleaning.copies.groups import joined as groups_module
from training.cleaning.copies.groups.joined import Groups
from training.cleaning.copies.groups.links import NOBODY_SAID
from training.cleaning.copies.near_pairs import Pair


@pytest.mark.parametrize("seed", range(6))
def test_links_against_sets(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The naive twin: groups and twins by repeated joining of sets, neighbours by looking at every pair."""
    draw = random.Random(seed)
    count = 60
    monkeypatch.setattr(groups_module, "_BUFFERED", 7)  # some pairs are in the file before the last one comes
    sets, twins = [{i} for i in range(count)], [{i} for i in range(count)]
    pairs: list[Pair] = []

    def joined(of: list[set[int]], one: int, other: int) -> list[set[int]]:
        both = [some for some in of if one in some or other in some]
        return [some for some in of if some not in both] + [set[int]().union(*both)]

    with Groups(count, tmp_path / "index", large=2) as groups:
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
        several = [members.tolist() for members in groups.of_several()]
        assert several == sorted(sorted(some) for some in sets if len(some) > 1)
        twins_of = {photo: some for some in twins for photo in some}
        for members in several:
            if len(members) == 2:
                with pytest.raises(KeyError, match="at most 2"):
                    groups.links(np.array(members))
                continue
            links = groups.links(np.array(members))
            assert links.members.tolist() == members
            known = {(min(pair.left, pair.right), max(pair.left, pair.right)) for pair in pairs}
            listed = [(members[i], members[j]) for i, j in zip(*links.pairs(), strict=True)]
            assert sorted(listed) == sorted(pair for pair in known if pair[0] in members)
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
    assert list((tmp_path / "index").iterdir()) == []


def test_a_group_of_equal_bytes_alone_has_no_pairs(tmp_path: Path) -> None:
    with Groups(3, tmp_path, large=1) as groups:
        groups.same_bytes(0, 2)
        (members,) = groups.of_several()
        links = groups.links(members)
    assert links.near(0).tolist() == [1]
    assert links.likeness(0, links.near(0)).tolist() == [NOBODY_SAID]


def test_no_photos_have_no_groups(tmp_path: Path) -> None:
    with Groups(0, tmp_path, large=1) as groups:
        assert list(groups.of_several()) == []
