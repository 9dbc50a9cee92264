"""Pictures with the same frame: different ones are told apart, copies stay copies. Plain backgrounds are no frames."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from tests.training.cleaning.pictures import picture
from training.cleaning import DuplicateSettings
from training.cleaning.copies.alignment import likeness, likeness_under
from training.cleaning.copies.frames import frames
from training.cleaning.copies.hashes import Greys

PHOTOS = 24
LEAST = DuplicateSettings().likeness  # from which on two photos are copies


def grey(photo: Image.Image) -> np.ndarray:
    return np.asarray(photo.convert("L").resize((32, 32), Image.Resampling.BILINEAR))


def framed(photo: Image.Image, share: float, colour: int = 255) -> Image.Image:
    return ImageOps.expand(photo, (round(photo.width * share), round(photo.height * share)) * 2, (colour,) * 3)


def greys(photos: list[Image.Image]) -> Greys:
    return np.stack([grey(photo) for photo in photos])


def paler(photo: Image.Image) -> Image.Image:
    """With so little contrast that a frame's edge is nearly all of its edges."""
    return Image.blend(photo, Image.new("RGB", photo.size, (90, 90, 90)), 0.8)


@pytest.mark.parametrize(("share", "colour"), [(0.06, 255), (0.1, 255), (0.1, 0), (0.15, 255), (0.5, 255)])
def test_different_pictures_in_one_frame_are_no_copies_and_copies_are(share: float, colour: int) -> None:
    photos = [paler(picture(seed)) for seed in range(PHOTOS)]
    ours = greys([framed(photo, share, colour) for photo in photos])
    assert (frames(ours) > 0).all()
    assert likeness(ours[:-1], ours[1:]).max() < LEAST
    brighter = [framed(photo.point(lambda level: min(255, round(level * 1.2))), share, colour) for photo in photos]
    assert likeness(ours, greys(brighter)).min() > LEAST
    assert likeness_under(ours, greys(brighter), np.zeros(PHOTOS, np.int64)).min() > LEAST
    wider = greys([framed(photo, share + 0.03, colour) for photo in photos])
    assert likeness(ours, wider).min() > LEAST


def test_a_frame_that_one_of_two_copies_has_is_found_by_the_warps_as_before() -> None:
    photos = [picture(seed) for seed in range(PHOTOS)]
    assert likeness(greys(photos), greys([framed(photo, 0.1) for photo in photos])).min() > LEAST


def test_plain_photos_and_products_on_a_plain_background_have_no_frame() -> None:
    product = Image.new("RGB", (96, 96), (255, 255, 255))
    ImageDraw.Draw(product).ellipse((8, 8, 88, 88), fill=(40, 90, 160))
    grey_photo = Image.new("RGB", (96, 96), (128, 128, 128))
    assert not frames(greys([product, grey_photo, *(picture(seed) for seed in range(PHOTOS))])).any()
    wall = [ImageOps.expand(picture(seed), (0, 8, 0, 0), (200, 200, 200)) for seed in range(PHOTOS)]
    assert not frames(greys(wall)).any()


def test_bars_at_two_sides_are_a_frame() -> None:
    photos = greys([ImageOps.expand(picture(seed), (0, 8, 0, 8), (0, 0, 0)) for seed in range(PHOTOS)])
    found = frames(photos)
    assert (found[:, :2] > 0).mean() > 0.9
    assert not found[:, 2:].any()
