"""The photos that cost the most and are still taken: one of each way to be large, near the limits."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The file of an image."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, *chunks: bytes) -> bytes:
    """A PNG of zeros: its rows compress to a thousandth."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = bytes(1 + -(-width * depth * channels // 8))
    packer = zlib.compressobj(1)
    many = max(1, (1 << 20) // len(row))
    rows = b"".join(packer.compress(row * min(many, height - y)) for y in range(0, height, many)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def lossless_webp(width: int, height: int) -> bytes:
    """A WebP of one colour in 38 bytes: every code has one symbol, so that a pixel takes no bit."""
    bits, count = 0, 0

    def put(value: int, size: int) -> None:
        nonlocal bits, count
        bits |= value << count
        count += size

    put(0x2F, 8)
    put(width - 1, 14)
    put(height - 1, 14)
    put(0, 1 + 3)  # no alpha, version 0
    put(0, 1)  # no transform
    put(0, 1)  # no colour cache
    put(0, 1)  # one group of codes
    for _ in range(5):
        put(1, 1)  # a simple code
        put(0, 1)  # of one symbol
        put(0, 1)  # of one bit
        put(0, 1)  # 0
    body = bits.to_bytes(-(-count // 8), "little")
    body += bytes(len(body) % 2)
    return b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBPVP8L" + struct.pack("<I", len(body)) + body


def many_scans(width: int, height: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan, which visits every block, is repeated."""
    data = encoded(Image.new("RGB", (width, height), (200, 90, 40)), "JPEG", progressive=True, quality=90)
    last = data.rindex(b"\xff\xda")
    have = data.count(b"\xff\xda")
    return data[:-2] + data[last:-2] * (scans - have) + b"\xff\xd9"


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Random pixels, which no format compresses."""
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def heic(image: Image.Image, quality: int = 50) -> bytes:
    """A HEIC file, by the encoder of the extra `heif`."""
    import pillow_heif

    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, quality=quality)
    return buffer.getvalue()


PALETTE = chunk(b"PLTE", bytes(range(256)) * 3)
WORST: dict[str, Callable[[], bytes]] = {
    "PNG, 56 megapixels": lambda: png(8000, 7000, 8, 2),
    "PNG with alpha, 16 bits": lambda: png(7000, 7000, 16, 6),
    "PNG, palette and transparency": lambda: png(8000, 8000, 8, 3, PALETTE, chunk(b"tRNS", bytes(256))),
    "PNG, 16-bit grey": lambda: png(8000, 7800, 16, 0),
    "PNG, one bit": lambda: png(8000, 7800, 1, 0),
    "PNG, one column": lambda: png(1, 6_000_000, 8, 2),
    "PNG, one row": lambda: png(4_000_000, 1, 8, 6),
    "PNG, narrow with alpha": lambda: png(1200, 20_000, 8, 6),
    "WebP, lossless": lambda: lossless_webp(4000, 4000),
    "WebP, lossy with alpha": lambda: encoded(
        noise(250, 250, "RGBA").resize((3800, 3800)), "WEBP", quality=50, method=0
    ),
    "JPEG, progressive": lambda: encoded(Image.new("RGB", (8000, 7800), (9, 200, 90)), "JPEG", progressive=True),
    "JPEG, progressive, full chroma": lambda: encoded(
        Image.new("RGB", (6500, 6000), (9, 200, 90)), "JPEG", progressive=True, subsampling=0
    ),
    "JPEG, wide": lambda: encoded(Image.new("RGB", (60_000, 900), (9, 200, 90)), "JPEG"),
    "JPEG, narrow, CMYK, turned": lambda: encoded(Image.new("CMYK", (900, 60_000), (9, 200, 90, 5)), "JPEG"),
    "JPEG of many scans": lambda: many_scans(3000, 3000, 100),
    "AVIF": lambda: encoded(noise(256, 256).resize((4400, 4400)), "AVIF", quality=50, speed=10),
    "AVIF with alpha": lambda: encoded(noise(256, 256, "RGBA").resize((4000, 4000)), "AVIF", quality=50, speed=10),
    "HEIC": lambda: heic(noise(64, 64).resize((4600, 4600))),
    "HEIC with alpha": lambda: heic(noise(64, 64, "RGBA").resize((4000, 4000))),
}
"""Name → the file. Each is made when it is needed."""
