"""WebP: what its header says."""

from __future__ import annotations

from engines.pixels.formats.header import Header, corrupt

# libwebp's decoder for animations, the only one that Pillow has, holds two canvases; Pillow copies one to bytes. Its
# decoder for lossless files holds a canvas before the second one is written.
_BYTES = 12
_ROW = 512  # bytes for each pixel of a row: filters, prediction, a cache of 16 rows


def sketch(data: bytes) -> Header:
    """Read the header. Raises Invalid `corrupt`."""
    kind, size = data[12:16], (0, 0)
    if kind == b"VP8 " and len(data) >= 30 and data[23:26] == b"\x9d\x01\x2a":
        size = (int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF)
    elif kind == b"VP8L" and len(data) >= 25 and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        size = ((bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1)
    elif kind == b"VP8X" and len(data) >= 30:
        size = (int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1)
    width, height = size
    if not (width and height):
        raise corrupt("the photo's header cannot be read; send it again")
    extra = _BYTES * width * height + _ROW * width
    return Header("WEBP", width, height, 4, extra)
