from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image, ImageOps

from engines.pixels import Box, decode
from schemas.manifest import Preprocess

SMALL = Preprocess(width=32, height=24)


def encoded(image: Image.Image, format_: str = "PNG", orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, format_, exif=exif, quality=95)
    return file.getvalue()


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8))


def cropped(data: bytes, box: Box) -> Image.Image:
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    width, height = upright.size
    return upright.crop(
        (round(box.left * width), round(box.top * height), round(box.right * width), round(box.bottom * height))
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["squash", "pad", "crop"])
@pytest.mark.parametrize("size", [(100, 60), (384, 288)])
def test_a_box_is_what_cutting_the_upright_photo_first_gives(orientation, mode, size):
    """The whole of 384 x 288 is reduced before the resize, a part of it is not."""
    preprocess = Preprocess(width=32, height=32, mode=mode)
    data = encoded(noise(*size), orientation=orientation)
    for box in (Box(0.1, 0.2, 0.5, 0.9), Box(0, 0, 0.3, 0.4), Box(0.75, 0.05, 1, 1), Box(0, 0, 1, 1)):
        alone = decode(encoded(cropped(data, box)), preprocess)
        assert (decode(data, preprocess, box=box) == alone).all()


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_part_of_a_large_jpeg_keeps_its_detail(orientation):
    """A JPEG is decoded at a fraction of its size; for a small part that fraction has to be a larger one."""
    rng = np.random.default_rng(5)
    blocks = np.kron(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8))
    data = encoded(Image.fromarray(blocks), "JPEG", orientation)
    box = Box(0.25, 0.25, 0.5, 0.5)
    found = decode(data, SMALL, box=box).astype(float)
    alone = np.asarray(cropped(data, box).resize((32, 24), Image.Resampling.BILINEAR), float)
    assert abs(found - alone).mean() < 6
    assert found.std() > 0.9 * alone.std()


def test_the_whole_photo_is_the_box_of_everything():
    data = encoded(noise(90, 70), "JPEG", 8)
    assert (decode(data, SMALL) == decode(data, SMALL, box=Box(0, 0, 1, 1))).all()


@pytest.mark.parametrize(
    "edges",
    [(-0.1, 0, 1, 1), (0, 0, 1.1, 1), (0.5, 0, 0.5, 1), (0.6, 0, 0.4, 1), (0, 0.2, 1, 0.205), (math.nan, 0, 1, 1)],
)
def test_what_is_no_box_is_refused_by_name(edges):
    with pytest.raises(ValueError, match=r"^box: (left and right|top and bottom)"):
        Box(*edges)


def test_the_smallest_box_survives_every_orientation():
    for orientation in range(1, 9):
        data = encoded(noise(40, 30), orientation=orientation)
        for low in np.linspace(0, 0.99, 67):
            assert decode(data, SMALL, box=Box(low, low, low + 0.01, low + 0.01)).shape == (24, 32, 3)
