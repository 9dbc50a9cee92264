"""What a file is: its format, its size and what its decoder needs, by its bytes alone. Nothing is decoded here."""

from __future__ import annotations

from engines.pixels.formats import heif, jpeg, png, webp
from engines.pixels.formats.header import Header, Kind
from schemas.errors import Invalid

_OTHER_FORMATS = (b"GIF8", b"BM", b"II*\0", b"MM\0*", b"%PDF", b"\0\0\x01\0", b"8BPS", b"\xff\x0a", b"\0\0\0\x0cJXL")
_PHOTOS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF")
_BEFORE = b"\r\n\t \xef\xbb\xbf"  # what a script of a web page writes before it sends a file

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif"})
"""Names that photos have, in lower case. A decode looks at the bytes alone."""

__all__ = ["PHOTO_SUFFIXES", "Header", "Kind", "sketch"]


def sketch(data: bytes) -> Header:
    """Read the header of a photo, in about 10 microseconds.

    Raises:
        Invalid: stage `decode`; `empty`, `not_an_image`, `format_not_allowed`, `animated` or `corrupt`.
    """
    if not data:
        raise Invalid("decode", "empty", "the photo has no bytes; send it again")
    if data.startswith(b"\xff\xd8\xff"):
        return jpeg.sketch(data)
    if data.startswith(b"\x89PNG"):
        return png.sketch(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return webp.sketch(data)
    kind = heif.kind_of(data) if data[4:8] == b"ftyp" else None
    if kind is not None:
        if not heif.decodes(kind):
            raise Invalid("decode", "format_not_allowed", heif.MISSING[kind])
        return heif.sketch(data, kind)
    if data.startswith(_OTHER_FORMATS) or data[4:8] == b"ftyp":
        text = "not a JPEG, PNG, WebP, HEIC or AVIF photo; convert it to one of them"
        raise Invalid("decode", "format_not_allowed", text)
    if data.lstrip(_BEFORE).startswith(_PHOTOS):
        text = "the file has a line break or a byte order mark before the photo, so most programs refuse it; remove it"
        raise Invalid("decode", "not_an_image", text)
    raise Invalid("decode", "not_an_image", "the bytes are not a photo; send a JPEG, PNG, WebP, HEIC or AVIF photo")
