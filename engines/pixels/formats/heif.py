"""HEIC and AVIF: what the boxes say, and what the pictures inside are coded as.

Their decoders allocate the coded size, whatever the boxes say, and a grid may name one tile thousands of times. So all
coded sizes are read, and the work of a grid is bounded. Source: ISO/IEC 23008-12 and 14496-12.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec

from PIL import features

from engines.pixels.formats._bits import av1_size, hevc_size
from engines.pixels.formats.cicp import profile_of
from engines.pixels.formats.header import Header, Kind, animated, corrupt
from schemas.errors import Invalid

AVIF_BRANDS = frozenset({b"avif", b"avis"})
HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2", b"msf1", b"hevc", b"hevx"})
MISSING: dict[Kind, str] = {
    "HEIF": "HEIC photos need the extra heif: pip install 'groknet[heif]', or send a JPEG",
    "AVIF": "this Pillow cannot decode AVIF: install a wheel of Pillow 12.2 or later, or send a JPEG",
}
_SEQUENCES = frozenset({b"avis", b"msf1", b"hevc", b"hevx"})
_CODED = frozenset({b"hvc1", b"hev1", b"av01"})
_OTHER_CODES = frozenset({b"unci", b"mski", b"jpeg", b"j2k1", b"j2ki", b"avc1", b"vvc1"})
_MAX_BOXES = 16_384  # a phone's photo has 100 to 300
_SPS = 33  # NAL unit type
_SEQUENCE_HEADER = 1  # OBU type
_MAX_WORK = 4  # coded pixels of all tiles for each pixel of the photo: tiles reach over its edge, alpha and gain maps
_SMALL = 4_000_000  # pixels that are decoded without that bound

_MOST_IPMA = 131_072  # bytes of the box that says which item has which properties; a phone's has about 1,000

_NEEDED = (b"iprp", b"ipco", b"iloc", b"iinf", b"iref", b"idat", b"pitm")

_Box = tuple[bytes, bytes]


@cache
def decodes(kind: Kind) -> bool:
    """Whether this installation has the decoder: pillow-heif for HEIC; for AVIF a Pillow that was built with it."""
    return bool(features.check("avif")) if kind == "AVIF" else find_spec("pillow_heif") is not None


def kind_of(data: bytes) -> Kind | None:
    """Return the format by the major and the compatible brands; None for another ISO file, such as a film."""
    size = int.from_bytes(data[:4], "big")
    brands = {data[8:12], *(data[i : i + 4] for i in range(16, min(size, 256, len(data)), 4))}
    if brands & AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & HEIC_BRANDS else None


def sketch(data: bytes, kind: Kind) -> Header:
    """Read the header. Raises Invalid `corrupt` or `animated`."""
    if data[8:12] in _SEQUENCES:
        raise animated()
    try:
        return _sketch(data, kind)
    except (EOFError, IndexError):
        raise corrupt("the photo's header cannot be read; send it again") from None


def _sketch(data: bytes, kind: Kind) -> Header:
    meta = _once(_first(data, b"meta")[4:])
    boxes = _once(meta.get(b"iprp", b""))
    properties = list(_boxes(boxes.get(b"ipco", b"")))
    shown = [(_number(p, 4, 4), _number(p, 8, 4)) for name, p in properties if name == b"ispe"]
    items = _items(meta.get(b"iinf", b""))
    if not shown or not items:
        raise EOFError
    if _OTHER_CODES & set(items.values()):
        raise Invalid("decode", "format_not_allowed", "a HEIF file of another code than HEVC or AV1; send a JPEG")
    coded = [hevc_size(unit) for name, p in properties if name == b"hvcC" for unit in _parameter_sets(p)]
    for body in _bodies(data, meta, items):
        coded += [hevc_size(u) for u in _units(body)] if kind == "HEIF" else [av1_size(u) for u in _headers(body)]
    width, height = max(shown, key=lambda size: size[0] * size[1])
    area = max([width * height, *(w * h for w, h, _ in coded)])
    if not width * height or not coded:
        raise EOFError
    largest = max(w * h for w, h, _ in coded)
    if (1 + _tiles(meta.get(b"iref", b""))) * largest > max(_MAX_WORK * width * height, _SMALL):
        raise corrupt("the photo's tiles are many times as large as the photo; save it again")
    alpha = any(name == b"auxC" and b"alpha" in p for name, p in properties)
    planes = max(sample for *_, sample in coded) + alpha
    rgb = 4 if alpha else 3
    held = planes * 1.25 + 1 + (max(rgb, 2 * rgb - 4) if kind == "AVIF" else rgb)
    extra = int(held * area) + 4 * (area - width * height)
    colours = _profile(_photo(meta), boxes.get(b"ipma", b"")[:_MOST_IPMA], properties)
    return Header(kind, width, height, 4, extra, profile=colours)


def _profile(photo: int, associations: bytes, properties: list[_Box]) -> bytes | None:
    """A profile for the numbers in the box `colr` of the photo itself, not of its tiles, alpha or gain map."""
    try:
        for index in _properties_of(photo, associations):
            name, content = properties[index - 1] if index else (b"", b"")
            if name == b"colr" and content.startswith(b"nclx"):
                return profile_of(_number(content, 4, 2), _number(content, 6, 2))
    except (EOFError, IndexError):
        pass  # the decoder judges whether the photo can be had without it
    return None


def _photo(meta: dict[bytes, bytes]) -> int:
    """The item that is shown, from the box `pitm`; 0 without one."""
    content = meta.get(b"pitm", b"")
    return int.from_bytes(content[4:6] if content[:1] == b"\0" else content[4:8], "big")


def _properties_of(item: int, content: bytes) -> list[int]:
    """The numbers of the item's properties, from 1 on, by the box `ipma`; 0 is none."""
    wide, long, at = (2 if content[:1] == b"\0" else 4), content[3] & 1, 8
    for _ in range(_number(content, 4, 4)):
        this, count = _number(content, at, wide), content[at + wide]
        at += wide + 1
        if this == item:
            places = range(at, at + count * (1 + long), 1 + long)
            return [_number(content, place, 1 + long) & (0x7FFF if long else 0x7F) for place in places]
        at += count * (1 + long)
    return []


def _boxes(data: bytes) -> Iterator[_Box]:
    """Yield the type and the content of each box. Raises EOFError if there are too many or one is damaged."""
    offset = 0
    for _ in range(_MAX_BOXES):
        if offset + 8 > len(data):
            return
        size, name, head = _number(data, offset, 4), data[offset + 4 : offset + 8], 8
        if size == 1:
            size, head = _number(data, offset + 8, 8), 16
        elif size == 0:
            size = len(data) - offset
        if size < head:
            raise EOFError
        yield name, data[offset + head : offset + size]
        offset += size
    raise EOFError


def _once(data: bytes) -> dict[bytes, bytes]:
    """The boxes by their type. Decoders disagree on which of two counts, so the needed ones may be there only once."""
    boxes = list(_boxes(data))
    found = dict(boxes)
    if any(sum(name == one for name, _ in boxes) > 1 for one in _NEEDED):
        raise EOFError
    return found


def _first(data: bytes, wanted: bytes) -> bytes:
    """The content of the first box of a type at the top of the file, without copying the others."""
    offset = 0
    for _ in range(64):
        size, head = _number(data, offset, 4), 8
        if size == 1:
            size, head = _number(data, offset + 8, 8), 16
        if data[offset + 4 : offset + 8] == wanted:
            return data[offset + head : offset + size] if size else data[offset + head :]
        if size < head:
            break
        offset += size
    raise EOFError


def _number(data: bytes, offset: int, size: int) -> int:
    if offset + size > len(data):
        raise EOFError
    return int.from_bytes(data[offset : offset + size], "big")


def _items(content: bytes) -> dict[int, bytes]:
    """Item → its type, from the box `iinf`."""
    found = {}
    for name, info in _boxes(content[6 if content[:1] == b"\0" else 8 :]):
        if name == b"infe" and info[:1] in (b"\2", b"\3"):
            wide = 2 if info[0] == 2 else 4
            found[_number(info, 4, wide)] = info[6 + wide : 10 + wide]
    return found


def _tiles(content: bytes) -> int:
    """How many items derived pictures name, from the box `iref`."""
    wide = 2 if content[:1] == b"\0" else 4
    return sum(_number(refs, wide, 2) for name, refs in _boxes(content[4:]) if name == b"dimg")


def _bodies(data: bytes, meta: dict[bytes, bytes], items: dict[int, bytes]) -> Iterator[bytes]:
    """Yield the bytes of each coded picture, by the box `iloc`. They are not more than the file."""
    content = meta.get(b"iloc", b"")
    version, sizes = content[0], (content[4] >> 4, content[4] & 15, content[5] >> 4, content[5] & 15)
    wide, at, left = (4 if version == 2 else 2), 6, len(data)
    inside = meta.get(b"idat", b"")

    def take(size: int) -> int:
        nonlocal at
        at += size
        return _number(content, at - size, size)

    for _ in range(take(wide)):
        item = take(wide)
        method = take(2) & 15 if version else 0
        take(2)
        base = take(sizes[2])
        parts = []
        for _ in range(take(2)):
            take(sizes[3] if version else 0)
            start, length = base + take(sizes[0]), take(sizes[1])
            left -= length
            if left < 0 or method > 1:
                raise EOFError
            parts.append((inside if method else data)[start : start + length])
        if items.get(item) in _CODED:
            yield b"".join(parts)


def _parameter_sets(config: bytes) -> Iterator[bytes]:
    """Yield the sequence parameter sets of a box `hvcC`."""
    offset = 23
    if config[21] & 3 != 3:  # lengths of other than four bytes, which no encoder writes
        raise EOFError
    for _ in range(config[22]):
        kind, count = config[offset] & 63, _number(config, offset + 1, 2)
        offset += 3
        for _ in range(count):
            length = _number(config, offset, 2)
            if kind == _SPS:
                yield config[offset + 2 : offset + 2 + length]
            offset += 2 + length


def _units(body: bytes) -> Iterator[bytes]:
    """Yield the sequence parameter sets among the NAL units of a picture, which have lengths of four bytes."""
    offset = 0
    for _ in range(_MAX_BOXES):
        if offset + 6 > len(body):
            return
        length = _number(body, offset, 4)
        if (body[offset + 4] >> 1) & 63 == _SPS:
            yield body[offset + 4 : offset + 4 + length]
        offset += 4 + length
    raise EOFError


def _headers(body: bytes) -> Iterator[bytes]:
    """Yield the sequence headers among the OBUs of a picture."""
    offset = 0
    for _ in range(_MAX_BOXES):
        if offset >= len(body):
            return
        first = body[offset]
        offset += 2 if first & 4 else 1
        length = len(body) - offset
        if first & 2:
            length = 0
            for shift in range(0, 56, 7):
                octet = body[offset]
                length |= (octet & 127) << shift
                offset += 1
                if octet < 128:
                    break
        if (first >> 3) & 15 == _SEQUENCE_HEADER:
            yield body[offset : offset + length]
        offset += length
    raise EOFError
