"""Converts every mode of a photo to sRGB, a band of rows at a time where copies of the whole photo would be large."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from itertools import product

import numpy as np
from PIL import Image, ImageCms

from engines.pixels.cost import BAND_BYTES, reducing
from engines.pixels.formats.png import MAX_PROFILE_BYTES
from schemas.manifest import Preprocess

_PROFILE_MODES = {"RGB": 3, "L": 1, "CMYK": 4}
_REDUCIBLE = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})  # modes in which a mean of values is a mean of colours
_SAME = 1  # of 255: a profile that moves no colour by more is sRGB under another name
_KEPT_TRANSFORMS = 32  # a marketplace's phones share a handful of profiles; building one transform costs 1-5 ms
_KEPT_BYTES = 8_000_000  # of the profiles whose transforms are kept

_Region = tuple[int, int, int, int]
_transforms: OrderedDict[tuple[bytes, str], tuple[ImageCms.ImageCmsTransform | None, int]] = OrderedDict()
_transforms_lock = threading.Lock()


def flattened(image: Image.Image, preprocess: Preprocess, region: _Region | None = None) -> Image.Image:
    """Return the region without alpha, palette and 16 bits, averaged first if it is many times larger than wanted.

    The mode is RGB, L or CMYK, or 1. JPEGs were drafted already. A 64 megapixel PNG with alpha would otherwise take
    0.7 GB and a second for its colours.
    """
    left, top, right, bottom = region or (0, 0, *image.size)
    width, height = right - left, bottom - top
    factor = reducing(width, height, preprocess)
    plain = image.mode in _PROFILE_MODES and "transparency" not in image.info
    if factor == 1 and plain:
        return image if region is None else image.crop(region)
    out: Image.Image | None = None
    rows = factor * max(1, BAND_BYTES // (4 * width * factor))
    for y in range(0, height, rows):
        band = image.crop((left, top + y, right, min(bottom, top + y + rows)))
        if factor > 1 and band.mode in _REDUCIBLE and "transparency" not in band.info:
            band = _flat(band.reduce(factor))
        else:
            band = _flat(band)
            band = band.reduce(factor) if factor > 1 else band
        if out is None:
            out = Image.new(band.mode, (-(-width // factor), -(-height // factor)))
        out.paste(band, (0, y // factor))
    if out is None:
        raise ValueError("an image without rows")
    return out


def _flat(image: Image.Image) -> Image.Image:
    """Return `image` as L, RGB or CMYK: 16 bits cut to 8, the palette's colours, alpha blended over white."""
    if image.mode.startswith("I"):  # 16-bit grey: keep the high byte, because Pillow's conversion clips at 255
        if "transparency" in image.info:
            image = _opaque(image)
        values = np.asarray(image).astype(np.int64)
        image = Image.fromarray((values.clip(0, 65535) >> 8).astype(np.uint8))
    if image.mode in ("P", "PA") or "transparency" in image.info:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode in ("RGBA", "LA", "La", "RGBa"):
        rgba = image.convert("RGBA")
        white = Image.new("RGB", rgba.size, (255, 255, 255))
        white.paste(rgba, mask=rgba.getchannel("A"))
        image = white
    return image.convert("L") if image.mode == "1" else image


def _opaque(image: Image.Image) -> Image.Image:
    """Return 16-bit grey in which the one transparent value is white."""
    values = np.array(image)
    clear = image.info["transparency"]
    if isinstance(clear, int):
        values[values == clear] = 65535
    return Image.fromarray(values)


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return an image of `flattened` as RGB in sRGB, its profile applied."""
    if profile and len(profile) <= MAX_PROFILE_BYTES and image.mode in _PROFILE_MODES:
        transform = _transform(profile, image.mode)
        if transform is not None:
            converted = ImageCms.applyTransform(image, transform)
            image = image if converted is None else converted
    return image if image.mode == "RGB" else image.convert("RGB")


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from `profile` to sRGB; None if it moves no colour, does not fit the mode, or is damaged."""
    key = (hashlib.blake2b(profile, digest_size=16).digest(), mode)
    with _transforms_lock:
        if key in _transforms:
            _transforms.move_to_end(key)
            return _transforms[key][0]
    transform = _built(profile, mode)
    with _transforms_lock:
        _transforms[key] = transform, (len(profile) if transform else 0)
        while len(_transforms) > _KEPT_TRANSFORMS or sum(size for _, size in _transforms.values()) > _KEPT_BYTES:
            _transforms.popitem(last=False)
    return transform


def _built(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode != "CMYK" and _moves(transform, mode) <= _SAME:
            return None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None  # like viewers, ignore a profile that cannot be used
    return transform


def _moves(transform: ImageCms.ImageCmsTransform, mode: str) -> int:
    """Return by how much, of 255, the transform moves a grid of colours at most. A profile's name says nothing."""
    steps = range(0, 256, 15)
    grid = np.array(list(product(steps, repeat=3)) if mode == "RGB" else [(v, v, v) for v in range(256)], np.uint8)
    pixels = grid[None] if mode == "RGB" else grid[None, :, 0]
    moved = ImageCms.applyTransform(Image.fromarray(pixels), transform)
    return int(np.abs(np.asarray(moved).astype(int) - grid).max())
