"""Photos as phones and tools make them, checked against colours that are computed another way."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from engines.pixels import decode, formats_taken
from engines.pixels.formats import heif, sketch
from schemas.errors import Invalid
from schemas.manifest import Preprocess

INPUT = Preprocess(width=64, height=64)
# Columns red, green and blue of the primaries in XYZ under D50, as the profiles of phones have them.
P3 = ((0.51512, 0.2412, -0.00104), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
Primaries = tuple[tuple[float, ...], ...]


def fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def profile(name: str, primaries: Primaries, gamma: float | None = None, padding: int = 0) -> bytes:
    """A display profile of version 4: primaries, and the curve of sRGB or a power."""
    text = name.encode("utf-16-be")
    words = b"mluc" + bytes(4) + struct.pack(">II", 1, 12) + b"enUS" + struct.pack(">II", len(text), 28) + text
    if gamma is None:
        values = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
        curve = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + b"".join(map(fixed, values))
    else:
        curve = b"para" + bytes(4) + struct.pack(">HH", 0, 0) + fixed(gamma)

    def point(values: tuple[float, ...]) -> bytes:
        return b"XYZ " + bytes(4) + b"".join(map(fixed, values))

    tags = [(b"desc", words), (b"cprt", words), (b"wtpt", point((0.9642, 1.0, 0.82491)))]
    tags += [(b"rgb"[i : i + 1] + b"XYZ", point(primaries[i])) for i in range(3)]
    tags += [(b"rgb"[i : i + 1] + b"TRC", curve) for i in range(3)]
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for signature, content in tags:
        data = content + bytes(-len(content) % 4)
        table += signature + struct.pack(">II", offset + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", offset + len(body), bytes(4), 0x04300000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + b"".join(map(fixed, (0.9642, 1.0, 0.82491)))
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + body + bytes(padding)


def in_srgb(pixels: NDArray[np.uint8], primaries: Primaries, gamma: float | None = None) -> NDArray[np.float64]:
    """The colours in sRGB, by the definition: curve, primaries, the inverse of sRGB's, curve (IEC 61966-2-1)."""
    x = pixels / 255
    light = x**gamma if gamma else np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    linear = (light @ np.array(primaries) @ np.linalg.inv(np.array(SRGB))).clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def patches() -> Image.Image:
    cells = np.random.default_rng(7).integers(20, 236, (4, 4, 3), dtype=np.uint8)
    cells[0] = [(200, 60, 40), (60, 180, 60), (40, 60, 200), (220, 180, 60)]
    return Image.fromarray(np.kron(cells, np.ones((80, 80, 1), np.uint8)))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes, wrong: int = 0) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) ^ wrong)


def png_with(before: bytes, after: bytes = b"") -> bytes:
    data = saved(patches(), "PNG")
    start, end = data.index(b"IDAT") - 4, data.index(b"IEND") - 4
    return data[:start] + before + data[start:end] + after + data[end:]


def apart(data: bytes, expected: NDArray[np.float64]) -> float:
    """How far, of 255 on average, the middles of the patches are from the colours `expected [320, 320, 3]`."""
    middles = np.arange(8, 64, 16)
    got = decode(data, INPUT)[middles][:, middles]
    return float(np.abs(got - expected[middles * 5 + 2][:, middles * 5 + 2]).mean())


FINE = {"quality": 97, "subsampling": 0}
NAMES = ["DCI-P3 D65 Gamut with sRGB Transfer", "Display P3 Gamut with sRGB Transfer", "Display P3", "sRGB", "c2"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("primaries", "gamma"), [(P3, None), (ADOBE, 563 / 256), (SRGB, None), (SRGB, 1.0)])
def test_a_profile_is_judged_by_what_it_does(name: str, primaries: Primaries, gamma: float | None) -> None:
    data = saved(patches(), "JPEG", icc_profile=profile(name, primaries, gamma), **FINE)
    assert apart(data, in_srgb(np.asarray(Image.open(io.BytesIO(data))), primaries, gamma)) <= 1


@pytest.mark.parametrize(
    ("kind", "options", "mode"),
    [
        ("JPEG", FINE, "RGB"),
        ("PNG", {}, "RGB"),
        ("PNG", {}, "RGBA"),
        ("PNG", {}, "P"),
        ("WEBP", {"lossless": True}, "RGB"),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}, "RGB"),
        ("HEIF", {"quality": 100, "chroma": 444}, "RGB"),
    ],
)
def test_wide_colours_in_every_format(kind: str, options: dict[str, object], mode: str) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    image = patches().quantize(64) if mode == "P" else patches().convert(mode)
    data = saved(image, kind, icc_profile=profile("Display P3 with sRGB Transfer", P3), **options)
    assert apart(data, in_srgb(np.asarray(patches()), P3)) <= 1


def test_a_profile_that_moves_nothing_is_skipped_and_changes_no_pixel() -> None:
    plain, named = saved(patches(), "PNG"), saved(patches(), "PNG", icc_profile=profile("anything", SRGB))
    assert (decode(plain, INPUT) == decode(named, INPUT)).all()


def independent(data: bytes) -> NDArray[np.float64]:
    """The photo in sRGB by libvips and lcms, relative colorimetric."""
    pyvips = pytest.importorskip("pyvips")
    image = pyvips.Image.new_from_buffer(data, "")
    if image.hasalpha():
        image = image.flatten(background=[255, 255, 255])
    if image.get_typeof("icc-profile-data"):
        image = image.icc_transform("srgb", embedded=True)
    return np.asarray(image.numpy(), np.float64)


@pytest.mark.parametrize("primaries", [P3, ADOBE])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_another_library_sees_the_same_colours(kind: str, primaries: Primaries) -> None:
    data = saved(
        patches(), kind, icc_profile=profile("with sRGB Transfer", primaries), **(FINE if kind == "JPEG" else {})
    )
    assert apart(data, independent(data)) <= 1


XMP = b"XML:com.adobe.xmp\0\0\0\0\0"
ANCILLARY = {
    "wrong checksum before": (chunk(b"iTXt", XMP + b"<x/>", 1), b""),
    "wrong checksum after": (b"", chunk(b"tEXt", b"Software\0x", 1)),
    "long compressed text": (chunk(b"zTXt", b"Raw profile type xmp\0\0" + zlib.compress(b"a b" * 500_000)), b""),
    "long compressed text after": (b"", chunk(b"zTXt", b"c\0\0" + zlib.compress(b"a b" * 500_000))),
    "long compressed unicode": (chunk(b"iTXt", b"work\0\1\0\0\0" + zlib.compress(b'{"n":1}' * 200_000)), b""),
    "long compressed xmp": (chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(2_000_000))), b""),
    "long plain text": (chunk(b"iTXt", XMP + b"x" * 2_000_000), b""),
    "damaged profile": (chunk(b"iCCP", b"x\0\0" + b"nonsense"), b""),
    "profile with a wrong checksum": (chunk(b"iCCP", b"x\0\0" + zlib.compress(profile("P3", P3)), 1), b""),
    "profile bomb": (chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(50_000_000))), b""),
    "text bomb": (chunk(b"zTXt", b"c\0\0" + zlib.compress(bytes(50_000_000))), b""),
    "unknown chunk": (chunk(b"teSt", b"12"), chunk(b"teSt", b"12", 1)),
    "bytes after the end": (b"", chunk(b"IEND", b"") + b"<html>" + bytes(5000)),
}


@pytest.mark.parametrize("name", ANCILLARY)
def test_needless_chunks_of_a_png_do_not_cost_the_photo(name: str) -> None:
    assert (decode(png_with(*ANCILLARY[name]), INPUT) == decode(saved(patches(), "PNG"), INPUT)).all()


def test_a_large_profile_of_a_scanner_is_applied() -> None:
    large = profile("scanner", P3, padding=1_500_000)
    data = png_with(chunk(b"iCCP", b"x\0\0" + zlib.compress(large)))
    assert apart(data, in_srgb(np.asarray(patches()), P3)) <= 1


@pytest.mark.parametrize("where", ["eXIf", "XMP"])
def test_a_png_is_turned_by_what_is_kept(where: str) -> None:
    turned = patches().crop((0, 0, 320, 160))
    if where == "eXIf":
        body = chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0")
    else:
        body = chunk(b"iTXt", XMP + b'<x:xmpmeta tiff:Orientation="6"/>')
    data = saved(turned, "PNG")
    start = data.index(b"IDAT") - 4
    upright = saved(turned.transpose(Image.Transpose.ROTATE_270), "PNG")
    assert (decode(data[:start] + body + data[start:], INPUT) == decode(upright, INPUT)).all()


WAYS = {"plain": {}, "progressive": {"progressive": True}, "restarts": {"restart_marker_blocks": 5}}
TRAILER = (
    bytes.fromhex("0000010a0e000000") + b"Image_UTC_Data1467000000000" + bytes(200) + b"SEFH" + bytes(40) + b"SEFT"
)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("grey", [False, True])
def test_a_jpeg_without_its_end_marker_is_taken_with_every_row_and_refused_without(way: str, grey: bool) -> None:
    """What is left out decides alone: nothing but the marker, or the last bytes of the last row."""
    image = Image.fromarray(np.random.default_rng(3).integers(0, 256, (90, 120, 3), dtype=np.uint8))
    data = saved(image.convert("L") if grey else image, "JPEG", quality=90, **WAYS[way])
    whole = decode(data, INPUT)
    for ending in (b"", b"\xff", TRAILER):
        assert (decode(data[:-2] + ending, INPUT) == whole).all()
    for missing in (8, 40, 200, 1000):
        for ending in (b"", b"\xff"):
            with pytest.raises(Invalid) as caught:
                decode(data[: -2 - missing] + ending, INPUT)
            assert caught.value.error == "truncated"


def test_a_progressive_jpeg_that_ends_between_two_scans_lacks_something() -> None:
    data = saved(patches(), "JPEG", progressive=True)
    for _ in range(data.count(b"\xff\xda") - 1):
        data = data[: data.rindex(b"\xff\xda")]
        with pytest.raises(Invalid) as caught:
            decode(data, INPUT)
        assert caught.value.error == "truncated"


def test_a_trailer_after_the_end_is_no_part_of_the_photo() -> None:
    data = saved(patches(), "JPEG")
    film = b"\0\0\0\x18ftypmp42" + np.random.default_rng(3).integers(0, 256, 200_000, dtype=np.uint8).tobytes()
    assert (decode(data + film, INPUT) == decode(data, INPUT)).all()


def test_the_scans_of_a_jpeg_are_bounded_by_its_size() -> None:
    from engines.pixels import PixelLimits
    from tests.engines.pixels.worst_photos import many_scans

    data = many_scans(100, 100, 60)
    decode(data, INPUT, PixelLimits(max_scan_pixels=600_000))
    with pytest.raises(Invalid) as caught:
        decode(data, INPUT, PixelLimits(max_scan_pixels=590_000))
    assert caught.value.error == "too_many_scans"


def test_a_decode_without_processor_time_is_refused() -> None:
    from engines.pixels import PixelLimits

    with pytest.raises(Invalid, match="processor time") as caught:
        decode(saved(patches(), "JPEG"), INPUT, PixelLimits(max_seconds=1e-9))
    assert caught.value.error == "too_slow"


def test_heic_without_its_decoder_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heif, "find_spec", lambda name: None)
    heif.decodes.cache_clear()
    try:
        with pytest.raises(Invalid, match=r"groknet\[heif\]") as caught:
            decode(b"\0\0\0\x18ftypheic" + bytes(100), INPUT)
        assert caught.value.error == "format_not_allowed"
        assert "groknet[heif]" in formats_taken()
    finally:
        heif.decodes.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_a_picture_that_is_coded_larger_than_its_boxes_say_counts_as_coded(kind: str) -> None:
    """Boxes that claim 16 x 16 around a picture of 320 x 320: the decoder would allocate the coded size."""
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    data = saved(patches().resize((3200, 3200)), kind)
    honest = sketch(data)
    assert (honest.width, honest.height) == (3200, 3200)
    at = data.index(b"ispe") + 8
    lie = data[:at] + struct.pack(">II", 16, 16) + data[at + 8 :]
    with pytest.raises(Invalid) as caught:
        sketch(lie)
    assert caught.value.error == "corrupt"


# x and y of red, green, blue and white, and the corners that follow from them by definition: XYZ of D65 white is their
# sum. Columns as `in_srgb` takes them, but under D65, where sRGB's are these.
REC709 = ((0.412391, 0.212639, 0.019331), (0.357584, 0.715169, 0.119195), (0.180481, 0.072192, 0.950532))
CICP = {
    12: ((0.486571, 0.228975, 0.0), (0.265668, 0.691739, 0.045113), (0.198217, 0.079287, 1.043944)),
    9: ((0.636958, 0.262700, 0.0), (0.144617, 0.677998, 0.028073), (0.168881, 0.059302, 1.060985)),
}


def by_numbers(pixels: NDArray[np.uint8], primaries: int, gamma: float | None = None) -> NDArray[np.float64]:
    """The colours in sRGB without any profile: both have white D65, so nothing has to be adapted (ITU-T H.273)."""
    x = pixels / 255
    light = x**gamma if gamma else np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    linear = (light @ np.array(CICP[primaries]) @ np.linalg.inv(np.array(REC709))).clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def with_numbers(kind: str, primaries: int, transfer: int) -> bytes:
    """The patches with their colours named by numbers alone."""
    if kind == "HEIF":
        buffer = io.BytesIO()
        heif_file = pytest.importorskip("pillow_heif").from_pillow(patches())
        numbers = {"color_primaries": primaries, "transfer_characteristics": transfer, "matrix_coefficients": 6}
        heif_file.save(buffer, quality=95, chroma=444, **numbers)
        return buffer.getvalue()
    if kind == "PNG":
        return png_with(chunk(b"cICP", bytes([primaries, transfer, 0, 1])))
    data = saved(patches(), "AVIF", quality=97, subsampling="4:4:4")
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


@pytest.mark.parametrize(
    ("primaries", "transfer", "gamma"), [(12, 13, None), (12, 1, None), (9, 13, None), (12, 4, 2.2)]
)
@pytest.mark.parametrize("kind", ["AVIF", "HEIF", "PNG"])
def test_wide_colours_that_are_named_by_numbers(kind: str, primaries: int, transfer: int, gamma: float | None) -> None:
    """iPhones, Android and browsers name Display P3 so, without a profile (CICP)."""
    data, expected = with_numbers(kind, primaries, transfer), by_numbers(np.asarray(patches()), primaries, gamma)
    plain = 1.0 if kind == "PNG" else apart(with_numbers(kind, 1, 13), np.asarray(patches(), np.float64)) + 1.0
    assert apart(data, expected) <= plain
    assert apart(data, np.asarray(patches(), np.float64)) > 5  # and it does move


@pytest.mark.parametrize("kind", ["AVIF", "HEIF", "PNG"])
@pytest.mark.parametrize(("primaries", "transfer"), [(1, 13), (2, 2), (1, 1), (9, 16), (9, 18)])
def test_numbers_of_srgb_of_nothing_and_of_hdr_change_no_pixel(kind: str, primaries: int, transfer: int) -> None:
    assert (decode(with_numbers(kind, primaries, transfer), INPUT) == decode(with_numbers(kind, 1, 13), INPUT)).all()


@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_a_profile_in_the_file_goes_before_numbers(kind: str) -> None:
    if kind == "HEIF":
        buffer = io.BytesIO()
        image = patches()
        image.info["icc_profile"] = profile("a", SRGB)
        pytest.importorskip("pillow_heif").from_pillow(image).save(buffer, quality=95, chroma=444, color_primaries=12)
        data = buffer.getvalue()
    else:
        data = saved(patches(), "AVIF", quality=97, subsampling="4:4:4", icc_profile=profile("a", SRGB))
        if (at := data.find(b"colrnclx")) >= 0:
            data = data[: at + 8] + struct.pack(">HH", 12, 13) + data[at + 12 :]
    assert apart(data, np.asarray(patches(), np.float64)) <= 3


@pytest.mark.parametrize("change", ["no photo", "no associations", "an index behind the end", "cut"])
def test_damaged_boxes_around_the_numbers_are_left_to_the_decoder(change: str) -> None:
    data = bytearray(with_numbers("AVIF", 12, 13))
    at = data.index(b"ipma") + 4
    if change == "no photo":
        data[data.index(b"pitm") + 8 : data.index(b"pitm") + 10] = b"\0\x63"
    elif change == "no associations":
        data[at + 4 : at + 8] = bytes(4)
    elif change == "an index behind the end":
        data[at + 11 : at + 15] = b"\x7f" * 4
    else:
        data[data.index(b"pitm") + 8 : data.index(b"pitm") + 10] = b"\0\x63"
        data[at + 4 : at + 8] = b"\xff\xff\xff\xff"
    assert sketch(bytes(data)).profile is None
    with pytest.raises(Invalid) as caught:
        decode(bytes(data), INPUT)
    assert caught.value.error == "corrupt"


@pytest.mark.parametrize("before", [b"\r\n", b"\xef\xbb\xbf", b"\n \t"])
def test_what_a_script_wrote_before_the_photo_is_named(before: bytes) -> None:
    with pytest.raises(Invalid, match="line break or a byte order mark before the photo"):
        decode(before + saved(patches(), "JPEG"), INPUT)


def test_srgb_profiles_of_libraries_are_skipped() -> None:
    """Pillow's own sRGB profile, under any name, moves no colour by more than one."""
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = saved(patches(), "PNG", icc_profile=own)
    assert (decode(data, INPUT) == decode(saved(patches(), "PNG"), INPUT)).all()
