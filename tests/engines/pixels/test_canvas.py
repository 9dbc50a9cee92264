"""A canvas: one decode, from which every part is cut as if the photo had been decoded for it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from engines.pixels import Box, decode, decode_canvas, decode_photo
from engines.pixels.canvas import MOST_PIXELS
from schemas.errors import Invalid
from schemas.manifest import Preprocess

INPUT = Preprocess(width=64, height=64)


def photo(width: int, height: int, form: str = "PNG", **options: object) -> bytes:
    """Smooth colours, which reducing changes little."""
    small = Image.fromarray(np.random.default_rng(width).integers(0, 256, (9, 12, 3), dtype=np.uint8))
    file = io.BytesIO()
    small.resize((width, height), Image.Resampling.BICUBIC).save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((2000, 1500), 320, (500, 375)),  # a quarter of each side: a fifth would have fewer than 320 rows
        ((640, 480), 320, (640, 480)),
        ((100, 80), 320, (100, 80)),  # nothing is enlarged
        ((3000, 400), 320, (1500, 200)),  # more than a million pixels otherwise
    ],
)
def test_a_canvas_is_reduced_by_whole_numbers_and_bounded(size, side, expected) -> None:
    canvas, thumbnail = decode_canvas(photo(*size), side)
    assert (canvas.image.size, thumbnail) == (expected, b"")
    assert np.prod(canvas.image.size) <= MOST_PIXELS


def test_a_jpeg_is_decoded_no_finer_than_the_canvas_needs() -> None:
    canvas, _ = decode_canvas(photo(4000, 3000, "JPEG"), 300)
    assert canvas.image.size == (500, 375)  # an eighth, by the decoder itself


def test_a_part_is_what_decode_gives_for_its_box() -> None:
    data = photo(640, 480)
    canvas, _ = decode_canvas(data, 480)
    for box in (None, Box(0.1, 0.2, 0.7, 0.9), Box(0.5, 0.5, 0.52, 0.53)):
        apart = canvas.cut(box, INPUT).astype(int) - decode(data, INPUT, box=box)
        assert np.abs(apart).max() <= 2  # `decode` averages whole pixels first
    coarse, _ = decode_canvas(data, 120)
    apart = coarse.cut(Box(0.1, 0.2, 0.7, 0.9), INPUT).astype(int) - decode(data, INPUT, box=Box(0.1, 0.2, 0.7, 0.9))
    assert np.abs(apart).mean() < 2


def test_a_canvas_is_upright_and_has_the_thumbnail_of_the_photo() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the photo lies on its side
    data = photo(600, 300, "JPEG", exif=exif, quality=95)
    canvas, thumbnail = decode_canvas(data, 300, 100)
    assert canvas.image.size == (300, 600)
    assert Image.open(io.BytesIO(thumbnail)).size == (50, 100)
    whole = decode_photo(data, INPUT, 100)
    assert np.abs(canvas.cut(None, INPUT).astype(int) - whole.pixels).mean() < 2


def test_a_photo_that_cannot_be_decoded_is_refused_as_ever() -> None:
    with pytest.raises(Invalid, match="ends before its last row"):
        decode_canvas(photo(600, 300, "JPEG")[:-900], 300)
