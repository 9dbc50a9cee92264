"""Likeness against its definition, bit by bit, and its order."""

from __future__ import annotations

import numpy as np
import pytest

from engines.recognition import asymmetric
from workers.search.find.likeness import by_bits, by_margins, falling


@pytest.mark.parametrize(("distance", "likeness"), [(0, 1.0), (32, 0.75), (128, 0.0), (200, 0.0)])
def test_bits_that_differ(distance, likeness):
    assert by_bits(distance) == likeness


def test_a_bit_counts_as_much_as_the_photo_is_sure_of_it():
    rng = np.random.default_rng(0)
    margins = rng.normal(size=256).astype(np.float32)
    bits = np.stack([(margins > 0) ^ (rng.random(256) < share) for share in (0.0, 0.1, 0.3, 0.9)])
    found = by_margins(asymmetric(margins[None], np.packbits(bits, axis=1))[0], margins)
    for one, likeness in zip(bits, found, strict=True):
        differs = sum(abs(float(m)) for m, bit in zip(margins, one, strict=True) if (m > 0) != bit)
        whole = sum(abs(float(m)) for m in margins)
        assert likeness == pytest.approx(max(0.0, 1 - 2 * differs / whole), abs=1e-4)
    assert found[0] == 1.0
    assert found[3] == 0.0
    equal = np.full(256, 0.5, np.float32)  # a photo that is equally sure of every bit: as by_bits
    half = np.packbits(np.arange(256) % 8 > 0)[None]
    assert by_margins(asymmetric(equal[None], half)[0], equal) == [by_bits(32)]


def test_likeness_never_rises():
    assert falling([0.9, 0.95, 0.3, 0.4, 0.1]) == [0.9, 0.9, 0.3, 0.3, 0.1]
    assert falling([]) == []
