"""The photos of the decode benchmark: how far the fast decoder's pixels are from a full decode's."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from benchmarks.engine.decode import PREPROCESS, difference, full, ours, photo
from training.studio import TEST_IDENTITIES


@pytest.mark.parametrize("noise", [0.0, 4.0])
def test_large_photos_differ_by_little(noise: float) -> None:
    """The bound that docs/benchmarks/decode.md states: below 1 of 255 on average, at most 16."""
    mean, worst = difference([photo(identity, noise) for identity in TEST_IDENTITIES[:2]])
    assert mean < 1
    assert worst <= 16


@pytest.mark.parametrize("size", [(256, 256), (200, 256), (176, 176), (96, 250)])
def test_photos_below_twice_the_size_are_decoded_whole(size: tuple[int, int]) -> None:
    """Not one value differs: what was trained on small photos sees the same ones."""
    data = photo(TEST_IDENTITIES[0], 4.0, size)
    assert min(Image.open(io.BytesIO(data)).size) < 2 * PREPROCESS.width
    np.testing.assert_array_equal(ours(data), full(data))
