"""Perceptual hashes against the package that defines them, and against the definition written out."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.training.cleaning.pictures import picture
from training.cleaning.copies.hashes import HASHES, SIDES, a_hash, d_hash, distances, p_hash


def greys(count: int, side: int) -> np.ndarray:
    return np.stack([np.asarray(picture(i).convert("L").resize((side, side))) for i in range(count)])


@pytest.mark.parametrize("bits", SIDES)
def test_every_bit_is_that_of_imagehash(bits: int) -> None:
    imagehash = pytest.importorskip("imagehash")
    side = SIDES[bits]
    small = greys(30, 64)
    for name, theirs in (
        ("ahash", imagehash.average_hash),
        ("dhash", imagehash.dhash),
        ("phash", lambda image, n: imagehash.phash(image, n, highfreq_factor=64 // n)),
    ):
        ours = np.unpackbits(HASHES[name](small, bits), axis=1).astype(bool)
        for grey, found in zip(small, ours, strict=True):
            assert (theirs(Image.fromarray(grey), side).hash.ravel() == found).all(), name


def test_a_phash_is_the_cosine_transform_against_its_median() -> None:
    from scipy.fft import dctn

    for grey, code in zip(greys(10, 32), p_hash(greys(10, 32), 256), strict=True):
        low = dctn(grey.astype(float))[:16, :16]
        assert (np.packbits((low > np.median(low)).ravel()) == code).all()


def test_a_picture_and_its_darker_self_have_nearly_one_hash_and_others_have_not() -> None:
    one = greys(20, 64)
    darker = (one * 0.7).astype(np.uint8)
    for hashed in (a_hash, d_hash, p_hash):
        assert distances(hashed(one, 256), hashed(darker, 256)).max() <= 16
        assert distances(hashed(one, 256), hashed(np.roll(one, 1, axis=0), 256)).min() > 48


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="128"):
        a_hash(greys(1, 64), 128)
    with pytest.raises(ValueError, match="at least 32"):
        p_hash(greys(1, 16), 256)
