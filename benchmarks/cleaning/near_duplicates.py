"""Changed copies of a photo, as crawlers find them. Strengths are in benchmarks/cleaning/cleaning_planted.toml.

Each function takes an RGB picture and a strength, whose unit the file states, and returns another RGB picture. Equal
arguments give equal pixels.
"""

from __future__ import annotations

import io
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

PLANTED = Path(__file__).with_name("cleaning_planted.toml")
SAVED_QUALITY = 90  # of copies that are not about the JPEG quality
Picture = Image.Image


def planted() -> dict[str, Any]:
    """The file that fixes what is planted."""
    return tomllib.loads(PLANTED.read_text(encoding="utf-8"))


def _scale(picture: Picture, factor: float) -> Picture:
    size = max(8, round(picture.width * factor)), max(8, round(picture.height * factor))
    return picture.resize(size, Image.Resampling.BICUBIC)


def _blur(picture: Picture, radius: float) -> Picture:
    return picture.filter(ImageFilter.GaussianBlur(radius * min(picture.size) / 256))


def _rotate(picture: Picture, degrees: float) -> Picture:
    return picture.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=(128, 128, 128))


def _crop(picture: Picture, share: float) -> Picture:
    x, y = round(picture.width * share), round(picture.height * share)
    return picture.crop((x, y, picture.width - x, picture.height - y))


def _border(picture: Picture, share: float) -> Picture:
    x, y = round(picture.width * share), round(picture.height * share)
    fill = (255, 255, 255) if round(share * 100) % 2 == 0 else (0, 0, 0)  # even percentages are white
    return ImageOps.expand(picture, (x, y, x, y), fill)


def _watermark(picture: Picture, opacity: float) -> Picture:
    size = max(8, picture.width // 7)
    layer = Image.new("L", picture.size, 0)
    draw = ImageDraw.Draw(layer)
    text = "shop.example"
    left, top, right, bottom = draw.textbbox((0, 0), text, font=ImageFont.load_default(size))
    place = (picture.width - (right - left)) / 2, (picture.height - (bottom - top)) / 2
    draw.text(place, text, fill=round(255 * opacity), font=ImageFont.load_default(size))
    return Image.composite(Image.new("RGB", picture.size, (255, 255, 255)), picture, layer)


def _jpeg(picture: Picture, quality: float) -> Picture:
    return Image.open(io.BytesIO(saved(picture, round(quality)))).convert("RGB")


TRANSFORMATIONS: Mapping[str, Callable[[Picture, float], Picture]] = {
    "brightness": lambda picture, factor: ImageEnhance.Brightness(picture).enhance(factor),
    "contrast": lambda picture, factor: ImageEnhance.Contrast(picture).enhance(factor),
    "colour": lambda picture, factor: ImageEnhance.Color(picture).enhance(factor),
    "scale": _scale,
    "sharpen": lambda picture, percent: picture.filter(ImageFilter.UnsharpMask(2, round(percent), 0)),
    "blur": _blur,
    "rotate": _rotate,
    "crop": _crop,
    "border": _border,
    "watermark": _watermark,
    "jpeg": _jpeg,
}


def saved(picture: Picture, quality: int = SAVED_QUALITY) -> bytes:
    """The picture as JPEG bytes."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def copy_of(picture: Picture, name: str, strength: float) -> bytes:
    """JPEG bytes of a copy that was changed by one transformation. The quality counts once where it is the change."""
    if name == "jpeg":
        return saved(picture, round(strength))
    return saved(TRANSFORMATIONS[name](picture, strength))
