"""Photos as bytes: spoilt JPEG, PNG and WebP, files of other kinds, and headers that promise more than is there."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from engines.pixels import decode_photo
from schemas.errors import Invalid
from schemas.manifest import Preprocess
from tests.hostile.case import Input, spoilt

REFUSALS = (Invalid,)
MOST_MB = 256  # the decode budget of a process: what decodes hold at once, whatever the photos are
SQUASHED = Preprocess(mode="squash", width=32, height=32)
OTHER = (
    b"",
    b"\0",
    b"GIF89a" + bytes(40),
    b"%PDF-1.7\n",
    b"<svg/>",
    b"\0\0\0\x18ftypheic" + bytes(99),
    b"BM" + bytes(99),
)


def photo(kind: str, side: int = 64, colour: int | None = None) -> bytes:
    """A photo of noise, or of one grey."""
    noise = np.random.default_rng(3).integers(0, 256, (side, side, 3), np.uint8)
    pixels = noise if colour is None else np.full_like(noise, colour)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, lossless=True, quality=95)
    return file.getvalue()


def honest(folder: Path) -> None:
    """Grey stays grey."""
    pixels = decode_photo(photo("PNG", 40, 120), SQUASHED).pixels
    assert pixels.shape == (32, 32, 3)
    assert (pixels == 120).all()


def png_header(width: int, height: int, depth: int, colour: int, body: bytes) -> bytes:
    """A PNG with a right checksum over any header."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def inputs(rng: Random, folder: Path) -> Iterator[Input]:
    """Whatever is taken has the size that was asked for, and a small thumbnail."""
    bases = {kind: photo(kind) for kind in ("JPEG", "PNG", "WEBP")}
    while True:
        kind = rng.choice(("spoilt", "spoilt", "spoilt", "other", "header", "two"))
        if kind == "spoilt":
            base = rng.choice(sorted(bases))
            what, data = spoilt(bases[base], rng)
            kind = f"{base} {what}"
        elif kind == "other":
            data = rng.choice(OTHER)
        elif kind == "two":
            first, second = rng.sample(sorted(bases), 2)
            kind, data = f"{first} then {second}", bases[first] + bases[second]
        else:
            width, height = rng.choice(((0, 0), (1, 2**31 - 1), (2**31 - 1, 1), (65_500, 65_500), (3, 3), (1, 60_000)))
            depth, colour = rng.choice(((8, 2), (16, 6), (1, 0), (8, 3), (3, 7)))
            kind, data = f"PNG {width} x {height}", png_header(width, height, depth, colour, rng.randbytes(200))
        yield Input(kind, lambda data=data: _offer(data))


def _offer(data: bytes) -> None:
    found = decode_photo(data, SQUASHED)
    assert (found.pixels.shape, found.pixels.dtype) == ((32, 32, 3), np.uint8)
    assert len(found.thumbnail) <= 10_000
