"""Likeness against its definition, bit by bit, and its order."""

from __future__ import annotations

import numpy as np
import pytest

from engines.recognition import Unrounded
from engines.recognition.outputs.hash_layer import HashLayer
from workers.search.find.likeness import by_bits, by_cosines, falling


@pytest.mark.parametrize(("distance", "likeness"), [(0, 1.0), (32, 0.75), (128, 0.0), (200, 0.0)])
def test_bits_that_differ(distance, likeness):
    assert by_bits(distance) == likeness


def _photo(margins: np.ndarray) -> Unrounded:
    """A photo of these margins, by a layer that hands the embedding on."""
    return Unrounded(margins.astype(np.float32), HashLayer(np.eye(256, dtype=np.float32), np.zeros(256, np.float32)))


def test_a_bit_counts_as_much_as_the_photo_is_sure_of_it():
    rng = np.random.default_rng(0)
    margins = rng.normal(size=256).astype(np.float32)
    bits = np.stack([(margins > 0) ^ (rng.random(256) < share) for share in (0.0, 0.1, 0.3, 0.9)])
    found = by_cosines(_photo(margins).to_hashes(np.packbits(bits, axis=1)))
    for one, likeness in zip(bits, found, strict=True):
        differs = sum(abs(float(m)) for m, bit in zip(margins, one, strict=True) if (m > 0) != bit)
        whole = sum(abs(float(m)) for m in margins)
        assert likeness == pytest.approx(max(0.0, 1 - 2 * differs / whole), abs=1e-4)
    assert found[0] == 1.0
    assert found[3] == 0.0
    half = np.packbits(np.arange(256) % 8 > 0)[None]  # a photo that is equally sure of every bit: as by_bits
    assert by_cosines(_photo(np.full(256, 0.5)).to_hashes(half)) == [by_bits(32)]


def test_a_hash_estimates_the_cosine_of_the_margins():
    """For pairs of normal vectors whose cosine is known; the mean error over 400 pairs of 256 bits is about .002."""
    rng = np.random.default_rng(1)
    for cosine in (0.0, 0.3, 0.6, 0.9):
        errors = []
        for _ in range(400):
            ours, other = rng.normal(size=(2, 256))
            theirs = cosine * ours + np.sqrt(1 - cosine**2) * other
            exact = float(ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs))
            errors.append(float(_photo(ours).to_hashes(np.packbits(theirs > 0)[None])[0]) - exact)
        assert abs(np.mean(errors)) < 0.015
        assert np.std(errors) < 0.08


def test_likeness_never_rises():
    assert falling([0.9, 0.95, 0.3, 0.4, 0.1]) == [0.9, 0.9, 0.3, 0.3, 0.1]
    assert falling([]) == []
