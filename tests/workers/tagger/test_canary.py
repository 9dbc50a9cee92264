"""The canary's photos are what they should be by another decoder's word, and a wrong decoder is noticed."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image

from schemas.errors import Invalid
from workers.stages.job import Job, Photo
from workers.stages.prepare import Prepared
from workers.tagger.canary import COLOURS, PHOTOS, Canary


class Stage:
    """A prepare stage that decodes as it is told."""

    slots = None

    def __init__(self, decode) -> None:
        self.decode, self.given_back = decode, 0

    def prepare(self, jobs: Sequence[Job], *, large: bool = True) -> Iterator[Prepared]:
        photos = []
        for ref in jobs[0].listing.images:
            try:
                photos.append(Photo(jobs[0], ref.image_id, self.decode(ref.data), b""))
            except Invalid as why:
                jobs[0].spoil(ref.image_id, why)
        yield Prepared(photos=photos)

    def give_back(self, photos: Sequence[Photo]) -> None:
        self.given_back += len(photos)

    def close(self) -> None:
        """Nothing."""


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB").resize((40, 56)))


def test_each_photo_has_the_four_colours() -> None:
    for name in PHOTOS:
        with (files("workers.tagger") / "canary_photos" / name).open("rb") as file:
            pixels = np.asarray(Image.open(file).convert("RGB")).astype(int)
        corners = [pixels[24, 24], pixels[24, 72], pixels[72, 24], pixels[72, 72]]
        assert np.abs(np.array(corners) - COLOURS).max() <= 5


def test_a_right_decoder_passes_and_gives_back_what_it_borrowed() -> None:
    stage = Stage(pillow)
    assert Canary(stage).sing() == ""
    assert stage.given_back == len(PHOTOS)


def _refuse(_: bytes) -> np.ndarray:
    raise Invalid("decode", "corrupt", "no codec")


@pytest.mark.parametrize(
    ("decode", "said"),
    [
        (lambda data: pillow(data)[:, :, ::-1], "squares.jpg has wrong colours"),
        (lambda data: np.zeros_like(pillow(data)), "squares.webp has wrong colours"),
        (_refuse, "squares.png: no codec"),
    ],
)
def test_a_wrong_decoder_is_named(decode, said: str) -> None:
    assert said in Canary(Stage(decode)).sing()
