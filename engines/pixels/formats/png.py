"""PNG: what its header says, and the file without the chunks that a decode does not need.

Text and other ancillary chunks are often large or damaged (editors, chat programs, tools that draw). Decoders refuse
the whole photo for it, browsers do not. So such chunks are taken out before the decoder sees the file.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from engines.pixels.formats.cicp import profile_of
from engines.pixels.formats.header import Header, animated, corrupt

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PROFILE_BYTES = 4_000_000  # press and scanner profiles have 0.5 to 2 MB
_MAX_CHUNKS = 40_000  # 20 MB in the smallest common IDAT chunks (512 bytes) have that many
_MAX_TEXT = 65_536  # bytes of EXIF or XMP as text: an orientation and what programs write with it
_HEADER = struct.Struct(">IIBBBBB")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # colour type → samples of a pixel
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PIXELS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
_KEPT = frozenset({b"tRNS", b"eXIf"})  # ancillary, and needed if they are intact
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_ORIENTED = (b"XML:com.adobe.xmp", b"Raw profile type exif")  # texts that may hold the orientation


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A PNG without needless chunks.

    Attributes:
        data: the file for the decoder.
        profile: its colour profile, or one for what its chunk `cICP` says, or None.
    """

    data: bytes
    profile: bytes | None


def sketch(data: bytes) -> Header:
    """Read the header. Raises Invalid `corrupt`."""
    if len(data) < 33 or not data.startswith(SIGNATURE) or data[12:16] != b"IHDR":
        raise corrupt("the photo's header cannot be read; send it again")
    width, height, depth, colour, *_ = _HEADER.unpack_from(data, 16)
    if not (0 < width < 2**31 and 0 < height < 2**31) or depth not in _DEPTHS.get(colour, ()):
        raise corrupt("the photo's header cannot be read; send it again")
    pixel_bytes = 4 if _CHANNELS[colour] > 1 else 2 if depth == 16 else 1
    rows = 2 * (width * depth * _CHANNELS[colour] // 8 + 16)  # the row and the one above it
    return Header("PNG", width, height, pixel_bytes, rows)


def clean(data: bytes) -> Cleaned:
    """Take out what a decode does not need: texts, other ancillary chunks and what follows the end.

    An ancillary chunk whose checksum is wrong is as good as absent, as in browsers. The decoder judges the others.

    Raises:
        Invalid: `corrupt` above 40,000 chunks, or where bytes are no chunk; `animated`.
    """
    offset, chunks, profile, named = len(SIGNATURE), 0, None, None
    kept = [memoryview(data)[:offset]]
    pixels = False
    while offset + 8 <= len(data):
        length, kind = int.from_bytes(data[offset : offset + 4], "big"), data[offset + 4 : offset + 8]
        end = offset + 12 + length
        chunks += 1
        if chunks > _MAX_CHUNKS:
            raise corrupt(f"more than {_MAX_CHUNKS} PNG chunks; save it again")
        if not kind.isalpha():
            if pixels:
                break
            raise corrupt("the photo's chunks cannot be read; send it again")
        pixels = pixels or kind == b"IDAT"
        if kind == b"acTL" and not pixels and int.from_bytes(data[offset + 8 : offset + 12], "big") > 1:
            raise animated()
        if kind == b"iCCP" and profile is None and not pixels:
            profile = _profile(data, offset, end)
        if kind == b"cICP" and named is None and not pixels:
            named = _named(data, offset, end)
        if (kind in _PIXELS and (kind != b"IHDR" or chunks == 1)) or _needed(data, kind, offset, end):
            kept.append(memoryview(data)[offset:end])
        offset = end
        if kind == b"IEND":
            break
    whole = sum(map(len, kept)) == len(data)
    return Cleaned(data if whole else b"".join(kept), named or profile)


def _intact(data: bytes, offset: int, end: int) -> bool:
    """Whether the chunk is there and its checksum is right."""
    return end <= len(data) and zlib.crc32(memoryview(data)[offset + 4 : end - 4]) == int.from_bytes(
        data[end - 4 : end], "big"
    )


def _needed(data: bytes, kind: bytes, offset: int, end: int) -> bool:
    if kind in _TEXTS:
        if end - offset > _MAX_TEXT or not data.startswith(_ORIENTED, offset + 8):
            return False
        return _intact(data, offset, end) and (kind == b"tEXt" or _inflates(data, kind, offset, end))
    return kind in _KEPT and _intact(data, offset, end)


def _inflates(data: bytes, kind: bytes, offset: int, end: int) -> bool:
    """Whether a text is short: deflate makes up to a thousand times as much of its bytes."""
    keyword, _, rest = data[offset + 8 : end - 4].partition(b"\0")
    if kind == b"iTXt":
        if not rest.startswith(b"\1"):
            return True
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    else:
        rest = rest[1:]
    return len(keyword) < 80 and _inflated(rest, _MAX_TEXT) is not None


def _profile(data: bytes, offset: int, end: int) -> bytes | None:
    """The colour profile of an iCCP chunk; None if it is damaged or too large."""
    if not _intact(data, offset, end):
        return None
    name, _, rest = data[offset + 8 : end - 4].partition(b"\0")
    return _inflated(rest[1:], MAX_PROFILE_BYTES) if len(name) < 80 and rest.startswith(b"\0") else None


def _named(data: bytes, offset: int, end: int) -> bytes | None:
    """A profile for the colours that a chunk `cICP` names: primaries, transfer, no matrix, full range."""
    content = data[offset + 8 : end - 4]
    if len(content) != 4 or content[2:] != b"\0\1" or not _intact(data, offset, end):
        return None
    return profile_of(content[0], content[1])


def _inflated(data: bytes, most: int) -> bytes | None:
    """The bytes that a zlib stream holds; None if it is damaged, or if they are more than `most`."""
    stream = zlib.decompressobj()
    try:
        inflated = stream.decompress(data, most + 1)
    except zlib.error:
        return None
    return inflated if len(inflated) <= most else None
