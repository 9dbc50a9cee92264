"""Pairs through the index against a comparison of every photo with every other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.cleaning.pictures import picture
from training.cleaning.copies import code_index
from training.cleaning.copies.alignment import asked_warps, count_of_warps, likeness_under, warps
from training.cleaning.copies.hashes import distances, p_hash
from training.cleaning.copies.near_pairs import near_pairs, warped_distances


def smalls() -> np.ndarray:
    made = []
    for seed in range(40):
        image = picture(seed, (192, 160))
        made.append(image)
        if seed % 4 == 0:
            made.append(image.crop((8, 8, 184, 152)))
    made += [Image.new("RGB", (50, 50), (200, 200, 200))] * 5
    return np.stack([np.asarray(i.convert("L").resize((32, 32), Image.Resampling.BOX)) for i in made])


def brute(greys: np.ndarray, bits: int, least: float) -> set[tuple[int, int]]:
    codes = p_hash(greys)
    found = set()
    for i, warped in enumerate(warps(greys)):
        for j in range(len(greys)):
            for number in range(count_of_warps()):
                near = distances(p_hash(warped[number : number + 1]), codes[j : j + 1])[0] <= bits
                if i != j and near:
                    alike = likeness_under(greys[i : i + 1], greys[j : j + 1], np.array([number]))[0]
                    if alike >= least:
                        found.add((min(i, j), max(i, j)))
    return found


@pytest.mark.parametrize("exact_below", [1000, 0])
def test_the_pairs_are_those_of_a_comparison_of_all(
    exact_below: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_index, "EXACT_BELOW", exact_below)
    greys = smalls()
    bits = 64 if exact_below else 41  # the index is exact up to 41 bits: it has 21 tables
    everything = np.arange(len(greys))
    found = list(near_pairs(lambda places: greys[places], everything, tmp_path, bits=bits, least_likeness=0.7))
    pairs = {(min(p.left, p.right), max(p.left, p.right)) for p in found}
    plain = set(range(len(greys) - 5, len(greys)))
    textured = {pair for pair in pairs if not set(pair) & plain}
    assert textured == brute(greys[:-5], bits, 0.7)
    assert len(textured) == 10
    groups = {place for pair in pairs for place in pair if place in plain}
    assert groups == plain  # each equal plain picture is joined, but not with every other
    some = np.arange(0, len(greys), 2)
    part = {(p.left, p.right) for p in near_pairs(lambda p: greys[p], some, tmp_path, bits=bits, least_likeness=0.7)}
    assert {pair for pair in part if not set(pair) & plain} <= {(p.left, p.right) for p in found}
    assert {place for pair in part for place in pair} <= set(some.tolist())
    assert all(p.likeness >= 0.7 and 0 <= p.bits <= bits for p in found)


def test_distances_are_the_least_of_all_warps_in_both_directions() -> None:
    greys = smalls()[:12]
    left, right = greys, np.roll(greys, 1, axis=0)
    numbers = asked_warps()
    expected = []
    for one, other in zip(left, right, strict=True):
        ways = [(one, other), (other, one)]
        codes = [(p_hash(warps(a[None])[0, numbers]), p_hash(b[None])) for a, b in ways]
        expected.append(min(int(distances(warped, plain).min()) for warped, plain in codes))
    found = warped_distances(left, right)
    assert np.abs(found - expected).max() <= 2  # floats of another precision
    assert found.min() < 64 < found.max()
    assert warped_distances(left[:0], right[:0]).tolist() == []


def test_no_photos_give_no_pairs(tmp_path: Path) -> None:
    nothing = np.empty(0, np.int64)
    assert (
        list(near_pairs(lambda _: np.empty((0, 32, 32), np.uint8), nothing, tmp_path, bits=64, least_likeness=0.7))
        == []
    )
