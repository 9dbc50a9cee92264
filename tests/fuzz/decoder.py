"""Fuzzes the decoder: whatever the bytes are, it returns a photo or raises Invalid, within its budget of memory.

`python -m tests.fuzz.decoder --seconds 600`
"""

from __future__ import annotations

import argparse
import io
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable
from functools import cache

import hypothesis
import numpy as np
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from engines.pixels import decode
from engines.pixels.decode import cost_of
from schemas.errors import Invalid
from schemas.manifest import Preprocess

INPUT = Preprocess(width=32, height=32)
_HEAD = 12  # bytes that name the format: without them nothing is looked at
_ROUND = 400  # inputs between two looks at the clock
_ERRORS = {
    *("empty", "not_an_image", "format_not_allowed", "too_many_pixels", "too_many_scans"),
    *("over_budget", "too_slow", "animated", "truncated", "corrupt"),
}

Change = tuple[str, float, int, bytes]
"""What to do (replace, insert, cut, repeat, number), at which share of the file, over how many bytes, with which."""
Case = tuple[str, list[Change], bool]
"""The seed's name, the changes, and whether the checksums of a PNG are made right afterwards."""


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@cache
def seeds() -> dict[str, bytes]:
    """A small file of every way in which photos are stored."""
    values = np.random.default_rng(1).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    photo = Image.fromarray(values).resize((70, 50), Image.Resampling.BICUBIC)
    alpha = photo.copy()
    alpha.putalpha(photo.getchannel("R"))
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found = {
        "jpeg": _saved(photo, "JPEG", exif=exif, icc_profile=profile, comment=b"a comment"),
        "jpeg progressive": _saved(photo, "JPEG", progressive=True),
        "jpeg restarts": _saved(photo, "JPEG", restart_marker_blocks=3),
        "jpeg grey": _saved(photo.convert("L"), "JPEG"),
        "jpeg cmyk": _saved(photo.convert("CMYK"), "JPEG"),
        "jpeg two frames": _saved(photo, "MPO", save_all=True, append_images=[photo]),
        "png": _saved(photo, "PNG", exif=exif, icc_profile=profile),
        "png alpha": _saved(alpha, "PNG"),
        "png palette": _saved(photo.quantize(20), "PNG", transparency=3),
        "png one bit": _saved(photo.convert("1"), "PNG"),
        "png 16 bits": _saved(Image.fromarray(np.arange(3500, dtype=np.uint16).reshape(50, 70)), "PNG"),
        "png animated": _saved(photo, "PNG", save_all=True, append_images=[photo.rotate(90)]),
        "webp": _saved(photo, "WEBP", exif=exif.tobytes(), icc_profile=profile),
        "webp lossless": _saved(photo, "WEBP", lossless=True),
        "webp alpha": _saved(alpha, "WEBP", quality=60),
        "webp animated": _saved(photo, "WEBP", save_all=True, append_images=[photo.rotate(90)]),
        "avif": _saved(photo, "AVIF", exif=exif.tobytes(), icc_profile=profile),
        "avif alpha": _saved(alpha, "AVIF"),
        "gif": _saved(photo, "GIF"),
    }
    try:
        import pillow_heif
    except ImportError:
        return found
    for name, image in (("heic", photo), ("heic alpha", alpha)):
        buffer = io.BytesIO()
        pillow_heif.from_pillow(image).save(buffer, quality=60)
        found[name] = buffer.getvalue()
    return found


def changed(case: Case) -> bytes:
    """The bytes of a case."""
    name, changes, mended = case
    data = seeds()[name]
    for what, at, length, put in changes:
        start = _HEAD + int(at * max(0, len(data) - _HEAD))
        end = start + length
        if what == "replace":
            data = data[:start] + put + data[start + len(put) :]
        elif what == "insert":
            data = data[:start] + put + data[start:]
        elif what == "cut":
            data = data[:start] + data[end:]
        elif what == "repeat":
            data = data[:start] + data[start:end] * (1 + length % 40) + data[end:]
        else:  # a number of four bytes becomes another one
            data = data[:start] + struct.pack(">I" if length % 2 else "<I", zlib.crc32(put)) + data[start + 4 :]
    return with_checksums(data) if mended else data


def with_checksums(data: bytes) -> bytes:
    """A PNG whose checksums are right, so that what is behind them is reached; other files as they are."""
    if not data.startswith(b"\x89PNG"):
        return data
    offset, parts = 8, [data[:8]]
    while offset + 12 <= len(data):
        end = offset + 8 + int.from_bytes(data[offset : offset + 4], "big")
        if end + 4 > len(data):
            break
        parts.append(data[offset:end] + struct.pack(">I", zlib.crc32(data[offset + 4 : end])))
        offset = end + 4
    return b"".join([*parts, data[offset:]])


_PUT = st.one_of(
    st.binary(min_size=1, max_size=12),
    st.sampled_from([b"\xff\xd9", b"\xff\xda", b"\xff\xc4", b"\xff\xd0", b"IDAT", b"iCCP", b"tRNS", b"ALPH", b"ispe"]),
    st.sampled_from([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4), b"\0\0\xff\xff", b"\0\1\0\0"]),
)
_CHANGES = st.tuples(
    st.sampled_from(["replace", "replace", "insert", "cut", "repeat", "number"]),
    st.floats(0, 0.9999),
    st.integers(1, 200),
    _PUT,
)


def cases() -> st.SearchStrategy[Case]:
    """Files of every format with one to six changes."""
    return st.tuples(st.sampled_from(sorted(seeds())), st.lists(_CHANGES, min_size=1, max_size=6), st.booleans())


def check(data: bytes) -> str:
    """Decode the bytes, and return `taken` or the error's code. Raises AssertionError for any other outcome."""
    cost_of(data, INPUT)
    refused: Invalid | None = None
    try:
        pixels = decode(data, INPUT)
    except Invalid as why:
        refused = why
    if refused is None:
        assert pixels.shape == (32, 32, 3)
        return "taken"
    assert refused.stage == "decode"
    assert refused.error in _ERRORS, refused.error
    assert refused.message
    return refused.error


def fuzz(for_s: float, action: Callable[[bytes], str] = check) -> tuple[Counter[str], float]:
    """Check inputs until the time is over. Returns the outcomes, counted, and the most processor seconds of one input.

    Raises:
        Exception: what `action` raised for the smallest input that hypothesis found, which it prints.
    """
    ends: Counter[str] = Counter()
    slowest = 0.0
    until, number = time.monotonic() + for_s, 0
    while time.monotonic() < until:
        number += 1

        @hypothesis.seed(number)
        @hypothesis.settings(max_examples=_ROUND, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(cases())
        def one(case: Case) -> None:
            nonlocal slowest
            if time.monotonic() < until:
                began = time.thread_time()
                ends[action(changed(case))] += 1
                slowest = max(slowest, time.thread_time() - began)

        one()
    return ends, slowest


def main() -> None:
    """Fuzz, and print the outcomes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    ends, slowest = fuzz(parser.parse_args().seconds)
    parts = ", ".join(f"{count} {end}" for end, count in ends.most_common())
    print(f"{ends.total()} inputs: {parts}; the slowest took {slowest:.2f} s")


if __name__ == "__main__":
    main()
