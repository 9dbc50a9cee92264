from __future__ import annotations

import random

import pytest

from groknet.gallery.clusters import MOST, group_hashes


def apart(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


def flipped(code: str, bits: int, rng: random.Random) -> str:
    value = int(code, 16)
    for place in rng.sample(range(256), bits):
        value ^= 1 << place
    return f"{value:064x}"


def brute_force(hashes: list[str], radius: int) -> list[list[int]]:
    """The rule, word by word."""
    alone = set(range(len(hashes)))
    found = []
    near = [[apart(a, b) <= radius for b in hashes] for a in hashes]
    while alone:
        centre = max(sorted(alone), key=lambda place: sum(near[place][other] for other in alone))
        members = sorted(other for other in alone if near[centre][other] and other != centre)
        found.append([centre, *members])
        alone -= {centre, *members}
    return found


@pytest.mark.parametrize("radius", [0, 20, 100, 128, 256])
def test_groups_are_those_of_the_rule(radius: int) -> None:
    rng = random.Random(radius)
    bases = [f"{rng.getrandbits(256):064x}" for _ in range(6)]
    hashes = [flipped(rng.choice(bases), rng.randrange(40), rng) for _ in range(120)]
    assert group_hashes(hashes, radius) == brute_force(hashes, radius)


def test_planted_groups_are_found_and_a_chain_is_not_one_group() -> None:
    rng = random.Random(7)
    bases = [f"{rng.getrandbits(256):064x}" for _ in range(3)]
    hashes = [flipped(bases[place % 3], 10, rng) for place in range(60)]
    assert sorted(sorted(group) for group in group_hashes(hashes, 40)) == [list(range(p, 60, 3)) for p in range(3)]
    chain = [f"{(1 << 10 * step) - 1:064x}" for step in range(20)]  # each 10 bits from the one before
    groups = group_hashes(chain, 15)
    assert len(groups) > 5
    assert all(apart(chain[group[0]], chain[other]) <= 15 for group in groups for other in group)


def test_bounds() -> None:
    assert group_hashes([], 10) == []
    with pytest.raises(ValueError, match="at most"):
        group_hashes(["0" * 64] * (MOST + 1), 10)
