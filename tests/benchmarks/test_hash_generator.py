from __future__ import annotations

import numpy as np
import pytest

from benchmarks.search.hash_generator import FITTED, FITTED_TO, REAL, Generator, distances


@pytest.mark.parametrize(("hashes", "most"), [(FITTED_TO, 3), (REAL, 4)], ids=["fitted to", "committed"])
def test_generated_hashes_lie_as_far_from_one_another_as_real_ones(
    hashes: dict[str, tuple[int, ...]], most: float
) -> None:
    codes = Generator(FITTED, 5000).codes(5000, 1)
    assert codes.shape == (5000, 32)
    made = distances(codes)
    differences = [abs(a - b) for name, real in hashes.items() for a, b in zip(made[name], real, strict=True)]
    assert np.mean(differences) < most
    assert max(differences) <= 10


def test_a_seed_gives_the_same_hashes_again_and_another_seed_others() -> None:
    generator = Generator(FITTED, 1000)
    first = generator.codes(200, 7)
    assert np.array_equal(first, Generator(FITTED, 1000).codes(200, 7))
    assert not np.array_equal(first, generator.codes(200, 8))


def test_distances_are_those_of_counting_bits() -> None:
    codes = np.zeros((150, 32), np.uint8)
    for row in range(150):
        codes[row] = np.frombuffer(
            ((1 << row) - 1).to_bytes(32, "big"), np.uint8
        )  # row and other differ in |row - other|
    found = distances(codes)
    assert found["neighbour 1"] == (1, 1, 1, 1, 1)
    assert found["neighbour 10"][2] == 5
