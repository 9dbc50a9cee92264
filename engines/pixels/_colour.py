"""Converts every mode of a JPEG, PNG or WebP to sRGB."""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

_MAX_PROFILE_BYTES = 1_000_000  # CMYK press profiles are about 0.5 MB; a larger one is no colour profile
_PROFILE_MODES = frozenset({"RGB", "L", "CMYK"})


def to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return `image` as RGB in sRGB: 16 bits cut to 8, the profile applied, alpha blended over white."""
    if image.mode.startswith("I"):  # 16-bit grey: keep the high byte, because Pillow's conversion clips at 255
        values = np.asarray(image).astype(np.int64)
        image = Image.fromarray((values.clip(0, 65535) >> 8).astype(np.uint8))
    if image.mode in ("P", "PA") or "transparency" in image.info:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode in ("RGBA", "LA", "La", "RGBa"):
        rgba = image.convert("RGBA")
        white = Image.new("RGB", rgba.size, (255, 255, 255))
        white.paste(rgba, mask=rgba.getchannel("A"))
        image = white
    if profile and len(profile) <= _MAX_PROFILE_BYTES and image.mode in _PROFILE_MODES:
        transform = _transform(profile, image.mode)
        if transform is not None:
            converted = ImageCms.applyTransform(image, transform)
            image = image if converted is None else converted
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=32)  # a marketplace's phones share a handful of profiles; building one transform costs 1-5 ms
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from `profile` to sRGB; None if it is sRGB, does not fit the mode, or is damaged."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode == "RGB" and "srgb" in ImageCms.getProfileDescription(source).lower():
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None  # like viewers, ignore a profile that cannot be used
