"""From an upright photo to the network's input, to a thumbnail, and to a larger picture."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from PIL import Image

from engines.pixels.cost import REDUCING_GAP
from schemas.manifest import Preprocess

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_KEPT = 1.25  # a thumbnail so many times too large is kept: to resize 400 to 320 pixels takes three times its encoding
_QUALITY, _KEPT_QUALITY = 70, 50  # of 400 pixels, 50 has a tenth more bytes than 70 of 320, and a PSNR 1 to 2 dB higher
_THUMBNAIL_GAP = 1.0  # average whole pixels first at every scale: saves 0.25 ms a photo, invisibly


def fit(image: Image.Image, preprocess: Preprocess, out: np.ndarray | None = None) -> np.ndarray:
    """Resize by the manifest's mode: uint8 [height, width, 3], in `out` if that is given."""
    fitted = _resized(image, preprocess)
    if out is None:
        return np.array(fitted)
    out[:] = np.asarray(fitted)  # without another copy
    return out


def _resized(image: Image.Image, preprocess: Preprocess) -> Image.Image:
    size = (preprocess.width, preprocess.height)
    resampling = _FILTERS[preprocess.interpolation]
    if preprocess.mode == "pad":
        scale = min(size[0] / image.width, size[1] / image.height)
        inner = (_scaled(image.width, scale, size[0]), _scaled(image.height, scale, size[1]))
        canvas = Image.new("RGB", size, preprocess.pad_colour)
        place = ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2)
        canvas.paste(image.resize(inner, resampling, reducing_gap=REDUCING_GAP), place)
        return canvas
    box = None
    if preprocess.mode == "crop":
        scale = max(size[0] / image.width, size[1] / image.height)
        width, height = size[0] / scale, size[1] / scale
        left, top = (image.width - width) / 2, (image.height - height) / 2
        box = (max(0.0, left), max(0.0, top), min(image.width, left + width), min(image.height, top + height))
    return image.resize(size, resampling, box, reducing_gap=REDUCING_GAP)


PictureKind = Literal["jpeg", "webp"]


def picture_kind(data: bytes) -> PictureKind:
    """Return the format of a picture that this room made. Stores of older versions hold thumbnails as WebP."""
    return "webp" if data.startswith(b"RIFF") else "jpeg"


def jpeg_thumbnail(image: Image.Image, side: int, max_bytes: int) -> bytes:
    """Encode the thumbnail that is stored with each photo; see `_encoded`. Its longer side has up to a quarter more
    than `side` pixels, if the decoder gave it that size.

    A JPEG of 320 pixels takes 0.3 ms. A WebP has a fifth fewer bytes, but takes 1.7 to 2 ms on the engine's cores.
    """
    if side < max(image.size) <= _KEPT * side:
        kept = _saved(image.copy(), "jpeg", _KEPT_QUALITY)
        if len(kept) <= max_bytes:
            return kept
    return _encoded(image, side, max_bytes, "jpeg")


def webp_picture(image: Image.Image, side: int, max_bytes: int) -> bytes:
    """Encode a picture that is made when somebody looks at it; see `_encoded`."""
    return _encoded(image, side, max_bytes, "webp")


def _encoded(image: Image.Image, side: int, max_bytes: int, kind: PictureKind) -> bytes:
    """Encode a picture of at most `max_bytes`, its longer side at most `side` pixels, without metadata. Pure noise
    loses quality, then size, until it fits."""
    quality = _QUALITY
    while True:
        scale = min(1.0, side / max(image.size))
        size = (_scaled(image.width, scale, side), _scaled(image.height, scale, side))
        small = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=_THUMBNAIL_GAP)
        found = _saved(small, kind, quality)
        if len(found) <= max_bytes:
            return found
        quality, side = (quality - 30, side) if quality > 30 else (quality, side * 3 // 4)


def _saved(image: Image.Image, kind: PictureKind, quality: int) -> bytes:
    """The picture without the original's metadata."""
    image.info.clear()
    buffer = io.BytesIO()
    if kind == "jpeg":
        image.save(buffer, "JPEG", quality=quality)
    else:
        image.save(buffer, "WEBP", quality=quality, method=0)  # method 2: 10 % fewer bytes, twice the time
    return buffer.getvalue()


def _scaled(length: int, scale: float, most: int) -> int:
    return min(most, max(1, round(length * scale)))
