"""Small photos for the tests of cleaning: blurred noise, which has edges everywhere and nothing in common."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFilter


def picture(seed: int, size: tuple[int, int] = (96, 80)) -> Image.Image:
    """Colours that change within about an eighth of the picture."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (10, 12, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1))


def jpeg(image: Image.Image, quality: int = 92) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()
