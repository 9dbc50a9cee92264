"""What a photo's header says, before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from schemas.errors import Invalid

Kind = Literal["JPEG", "PNG", "WEBP", "AVIF", "HEIF"]


@dataclass(frozen=True, slots=True)
class Header:
    """The size of a photo and the memory that its decoder needs.

    Attributes:
        kind: the format.
        width: as stored in the file, in pixels.
        height: as stored in the file, in pixels.
        pixel_bytes: bytes of a pixel in the decoded image, as Pillow holds it: 1, 2 or 4.
        extra: bytes that the decoder holds besides the decoded image.
        draft: the photo can be decoded at 1/2, 1/4 and 1/8 of its size.
        profile: a colour profile for what the header says of the colours in numbers; a profile in the file goes first.
    """

    kind: Kind
    width: int
    height: int
    pixel_bytes: int
    extra: int
    draft: bool = False
    profile: bytes | None = None


def corrupt(message: str) -> Invalid:
    """Return the error of a damaged file."""
    return Invalid("decode", "corrupt", message)


def animated() -> Invalid:
    """Return the error of an animation."""
    return Invalid("decode", "animated", "an animation, not a photo; send a still picture")
