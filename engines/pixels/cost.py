"""How much memory a decode needs, by the photo's header. It counts every copy, and never too little.

`tests/engines/pixels/test_memory.py` measures it for the worst photos of every format.
"""

from __future__ import annotations

import math

from engines.pixels.box import Box
from engines.pixels.formats import Header
from schemas.manifest import Preprocess

REDUCING_GAP = 3.0  # shrinking by more than 3: box-reduce first, which looks the same and is 3x faster on large PNGs
BAND_BYTES = 1 << 20  # of decoded rows that are converted at a time
_BAND_COPIES = 6  # of a band, at four bytes a pixel: cut, alpha, white, colours, 16 bits
_FIXED = 4_000_000  # profile, transform, thumbnail, the network's input, the interpreter's objects
_FILES = 3  # copies of the file: as it came, without needless chunks, and what the decoder reads


def decode_cost(header: Header, size: int, preprocess: Preprocess, box: Box | None = None) -> int:
    """Return the most bytes that the decode of a file of `size` bytes holds at once."""
    scale = scale_for(header, preprocess, box)
    width, height = -(-header.width // scale), -(-header.height // scale)
    decoded = plane(width, height, header.pixel_bytes)
    share = 1.0 if box is None else max(box.right - box.left, box.bottom - box.top)
    part = (max(1, math.ceil(width * share)), max(1, math.ceil(height * share)))
    factor = min(reducing(*part, preprocess), reducing(part[1], part[0], preprocess))
    reduced = plane(-(-part[0] // factor), -(-part[1] // factor), 4)
    band = _BAND_COPIES * max(BAND_BYTES, 4 * width * factor)
    return max(header.extra + decoded, decoded + reduced + band, 9 * reduced // 4) + _FILES * size + _FIXED


def plane(width: int, height: int, pixel_bytes: int) -> int:
    """The bytes of an image in Pillow, upright or turned by 90 degrees: rows of whole words, and a pointer to each."""
    rows = 8 * max(width, height)
    return rows + max(height * (-(-width * pixel_bytes // 4) * 4), width * (-(-height * pixel_bytes // 4) * 4))


def reducing(width: int, height: int, preprocess: Preprocess) -> int:
    """Return by which factor a photo of that size is averaged before it is resized; 1: not at all."""
    return max(1, int(min(width / preprocess.width, height / preprocess.height) / REDUCING_GAP))


def wanted(preprocess: Preprocess, box: Box | None, turned: bool) -> tuple[int, int]:
    """Return the least width and height to decode to, for the photo as stored in the file."""
    width, height = preprocess.width, preprocess.height
    if box is not None:  # the part must have the wanted pixels, so the whole needs more
        width, height = math.ceil(width / (box.right - box.left)), math.ceil(height / (box.bottom - box.top))
    return (height, width) if turned else (width, height)


def scale_for(header: Header, preprocess: Preprocess, box: Box | None) -> int:
    """Return the scale that a reduced decode has at least, whichever way up the photo is: 1, 2, 4 or 8."""
    if not header.draft:
        return 1
    return min(draft_scale(header.width, header.height, wanted(preprocess, box, turned)) for turned in (False, True))


def draft_scale(width: int, height: int, least: tuple[int, int]) -> int:
    """Return the largest scale of 1, 2, 4 and 8 at which neither side is below the wanted one."""
    most = min(width // least[0], height // least[1])
    return min(8, 1 << (most.bit_length() - 1)) if most else 1
