"""The decoder against pictures whose pixels are known by construction."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw

import engines.pixels
from engines.pixels import PixelLimits, decode, decode_photo, picture_kind, thumbnail
from schemas.errors import ConfigError, Invalid
from schemas.manifest import Preprocess

SQUARE = Preprocess(width=64, height=64)
RED, GREEN, BLUE, WHITE = (230, 20, 20), (20, 200, 20), (20, 20, 230), (255, 255, 255)


def quarters(size: tuple[int, int] = (200, 120)) -> Image.Image:
    """Red top left, green top right, blue bottom left, white bottom right."""
    width, height = size
    image = Image.new("RGB", size, RED)
    image.paste(GREEN, (width // 2, 0, width, height))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    image.paste(WHITE, (width // 2, height // 2, width, height))
    return image


def noise(size: tuple[int, int], seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}) | options)
    return buffer.getvalue()


def corners(pixels: np.ndarray) -> list[tuple[int, ...]]:
    """Colours at the middle of each quarter, row by row."""
    height, width = pixels.shape[:2]
    return [tuple(pixels[y, x]) for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]


def near(got: tuple[int, ...], expected: tuple[int, ...], tolerance: int = 8) -> bool:
    return all(abs(int(a) - b) <= tolerance for a, b in zip(got, expected, strict=True))


def refused(data: bytes, limits: PixelLimits | None = None) -> str:
    with pytest.raises(Invalid) as caught:
        decode(data, SQUARE, limits or PixelLimits())
    assert caught.value.stage == "decode"
    return caught.value.error


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {}), ("PNG", {}), ("WEBP", {"lossless": True})])
def test_every_format_gives_the_picture(kind: str, options: dict[str, object]) -> None:
    pixels = decode(encoded(quarters(), kind, **options), SQUARE)
    assert (pixels.shape, pixels.dtype) == ((64, 64, 3), np.uint8)
    assert pixels.flags.writeable
    assert all(near(*pair) for pair in zip(corners(pixels), [RED, GREEN, BLUE, WHITE], strict=True))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_whatever_the_exif_orientation(kind: str, orientation: int) -> None:
    """Store the picture turned the other way round, say so in EXIF: all eight come out alike."""
    undo = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = quarters()
    for step in undo[orientation]:
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = decode_photo(encoded(stored, kind, exif=exif), SQUARE)
    assert (photo.width, photo.height) == (200, 120)
    assert all(near(got, want, 30) for got, want in zip(corners(photo.pixels), [RED, GREEN, BLUE, WHITE], strict=True))
    small = Image.open(io.BytesIO(photo.thumbnail))
    assert small.size == (200, 120)


def test_one_decode_gives_the_pixels_of_the_other() -> None:
    data = encoded(noise((800, 600)))
    assert (decode(data, SQUARE) == decode_photo(data, SQUARE, thumbnail_side=32).pixels).all()


def test_reduced_decode_stays_close_to_the_full_one() -> None:
    x, y = np.meshgrid(np.arange(800), np.arange(600))
    smooth = np.stack([x * 255 // 799, y * 255 // 599, (x + y) * 255 // 1398], axis=2).astype(np.uint8)
    pixels = decode(encoded(Image.fromarray(smooth)), SQUARE)
    full = np.asarray(Image.fromarray(smooth).resize((64, 64), Image.Resampling.BOX))
    assert np.abs(pixels.astype(int) - full).max() <= 6


@pytest.mark.parametrize("alpha", [False, True])
def test_a_photo_many_times_too_large_is_averaged(alpha: bool) -> None:
    """One-pixel stripes of black and white average to grey; under alpha 0 they would not count."""
    stripes = np.zeros((900, 1300, 3), np.uint8)
    stripes[:, ::2] = 255
    image = Image.fromarray(stripes)
    if alpha:
        image.putalpha(Image.fromarray(np.where(stripes[..., 0] == 0, 255, 0).astype(np.uint8)))  # white is clear
    pixels = decode(encoded(image, "PNG"), SQUARE)
    assert np.abs(pixels.astype(int) - 127).max() <= 3


def test_squash_pad_and_crop() -> None:
    data = encoded(quarters((400, 100)), "PNG")
    pad = decode(data, Preprocess(width=64, height=64, mode="pad", pad_colour=(9, 8, 7)))
    assert {tuple(pad[y, x]) for y in (0, 23, 40, 63) for x in (0, 63)} == {(9, 8, 7)}  # 64 x 16 in the middle
    assert near(tuple(pad[27, 10]), RED)
    assert near(tuple(pad[36, 50]), WHITE)
    wide = Image.new("RGB", (300, 100), RED)
    wide.paste(BLUE, (100, 0, 200, 100))
    crop = decode(encoded(wide, "PNG"), Preprocess(width=32, height=32, mode="crop"))
    assert (crop[:, 2:30] == BLUE).all()
    tall = decode(
        encoded(wide.transpose(Image.Transpose.ROTATE_90), "PNG"), Preprocess(width=48, height=16, mode="crop")
    )
    assert tall.shape == (16, 48, 3)
    assert (tall == BLUE).all()
    squash = decode(data, Preprocess(width=40, height=20, interpolation="bicubic"))
    assert squash.shape == (20, 40, 3)
    assert all(near(*pair) for pair in zip(corners(squash), [RED, GREEN, BLUE, WHITE], strict=True))


def uniform(image: Image.Image, kind: str = "PNG", **options: object) -> tuple[int, ...]:
    pixels = decode(encoded(image, kind, **options), SQUARE)
    assert (pixels == pixels[0, 0]).all()
    return tuple(pixels[0, 0].tolist())


def test_modes_become_rgb() -> None:
    size = (80, 80)
    assert uniform(Image.new("L", size, 77)) == (77, 77, 77)
    assert uniform(Image.new("1", size, 1)) == (255, 255, 255)
    assert uniform(Image.fromarray(np.full((80, 80), 40_000, np.uint16))) == (156, 156, 156)  # 40000 // 256
    palette = Image.new("P", size, 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert uniform(palette) == (10, 20, 30)
    assert uniform(palette, transparency=1) == (255, 255, 255)
    assert near(uniform(palette, transparency=b"\xff\x33"), (206, 208, 210), 1)  # alpha 0.2 over white
    assert uniform(Image.new("RGBA", size, (200, 0, 0, 0))) == (255, 255, 255)
    assert near(uniform(Image.new("RGBA", size, (200, 0, 0, 128))), (227, 127, 127), 1)  # c a + 255 (1 - a)
    assert near(uniform(Image.new("LA", size, (0, 51))), (204, 204, 204), 1)
    assert uniform(Image.new("RGB", size, (1, 2, 3)), transparency=(1, 2, 3)) == (255, 255, 255)
    assert near(uniform(Image.new("CMYK", size, (255, 0, 0, 0)), "JPEG"), (0, 255, 255), 3)
    assert near(uniform(Image.new("L", size, 77), "JPEG"), (77, 77, 77), 1)


def test_colour_profile_is_applied() -> None:
    """Under a profile of linear light, half light is 188 in sRGB: 255 (1.055 x 0.5^(1/2.4) - 0.055)."""
    linear = _linear_profile()
    image = Image.new("RGB", (80, 80), (128, 128, 128))
    assert near(uniform(image, "PNG", icc_profile=linear), (188, 188, 188), 2)
    assert near(uniform(image, "JPEG", icc_profile=linear), (188, 188, 188), 2)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert uniform(image, "PNG", icc_profile=srgb) == (128, 128, 128)
    assert uniform(image, "PNG", icc_profile=b"not a profile") == (128, 128, 128)


def _linear_profile() -> bytes:
    """The sRGB profile with its three tone curves replaced by one of gamma 1: a curve tag without points."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(data[128:132], "big")
    for i in range(count):
        at = 132 + 12 * i
        if data[at : at + 4] in (b"rTRC", b"gTRC", b"bTRC"):
            start = int.from_bytes(data[at + 4 : at + 8], "big")
            data[start : start + 12] = b"curv" + bytes(8)
        if data[at : at + 4] == b"desc":
            start, size = struct.unpack(">II", data[at + 4 : at + 12])
            data[start + 28 : start + size] = bytes(size - 28)  # its name says sRGB, and would be believed
    return bytes(data)


def test_metadata_stays_behind() -> None:
    exif = Image.Exif()
    exif[0x010E] = "SECRET description"
    exif.get_ifd(0x8825)[1] = "N"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(quarters(), exif=exif, icc_profile=profile, comment=b"SECRET comment")
    for small in (decode_photo(data, SQUARE).thumbnail, thumbnail(data)):
        assert b"SECRET" not in small
        assert not {b"EXIF", b"ICCP", b"XMP "} & {small[i : i + 4] for i in range(12, len(small) - 4)}
        with Image.open(io.BytesIO(small)) as image:
            assert image.info.keys() <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "loop", "background"}


@pytest.mark.parametrize("size", [(800, 600), (60, 900), (2000, 3), (10, 10)])
def test_thumbnail_is_small_and_never_enlarged(size: tuple[int, int]) -> None:
    image = Image.open(io.BytesIO(thumbnail(encoded(noise(size)), 160)))
    assert image.format == "WEBP"
    scale = min(1.0, 160 / max(size))
    assert image.size == tuple(max(1, round(side * scale)) for side in size)


def test_a_thumbnail_beside_the_pixels_is_a_jpeg_and_a_picture_on_demand_a_webp() -> None:
    data = encoded(quarters((800, 600)))
    stored = decode_photo(data, Preprocess(width=224, height=224)).thumbnail
    for small, kind, size in ((stored, "jpeg", (400, 300)), (thumbnail(data), "webp", (320, 240))):
        with Image.open(io.BytesIO(small)) as image:
            assert (picture_kind(small), image.format, image.size) == (kind, kind.upper(), size)
            found = corners(np.asarray(image.convert("RGB")))
        assert all(near(got, colour) for got, colour in zip(found, (RED, GREEN, BLUE, WHITE), strict=True))


@pytest.mark.parametrize(
    ("photo", "stored"), [((800, 600), 400), ((640, 480), 320), ((402, 300), 320), ((400, 300), 400), ((300, 200), 300)]
)
def test_a_thumbnail_that_is_nearly_right_keeps_its_size(photo: tuple[int, int], stored: int) -> None:
    data = encoded(quarters(photo), "PNG" if photo[0] < 500 else "JPEG")
    small = decode_photo(data, Preprocess(width=224, height=224)).thumbnail
    assert max(Image.open(io.BytesIO(small)).size) == stored


def test_a_kept_thumbnail_is_nearer_to_the_photo_than_a_shrunk_one() -> None:
    """Against Lanczos of the original, at the size that a page shows."""
    photo, rng = quarters((800, 600)), np.random.default_rng(1)
    draw = ImageDraw.Draw(photo)
    for x, y, radius, *colour in rng.integers((0, 0, 5, 0, 0, 0), (800, 600, 60, 256, 256, 256), (80, 6)).tolist():
        draw.regular_polygon((x, y, radius), 5, fill=tuple(colour))
    shown = np.asarray(photo.resize((320, 240), Image.Resampling.LANCZOS), float)
    draft = Image.open(io.BytesIO(encoded(photo)))
    draft.draft("RGB", (224, 224))
    shrunk, buffer = draft.convert("RGB").resize((320, 240), Image.Resampling.BILINEAR), io.BytesIO()
    shrunk.save(buffer, "JPEG", quality=70)
    kept = decode_photo(encoded(photo), Preprocess(width=224, height=224)).thumbnail

    def error(small: bytes) -> float:
        image = Image.open(io.BytesIO(small)).convert("RGB").resize((320, 240), Image.Resampling.LANCZOS)
        return float(np.mean((np.asarray(image, float) - shown) ** 2))

    assert error(kept) < error(buffer.getvalue())


def test_a_thumbnail_of_noise_keeps_to_the_limit_of_the_store() -> None:
    for size in ((320, 320), (1200, 900), (300, 4000)):
        assert 0 < len(decode_photo(encoded(noise(size), "PNG"), SQUARE, thumbnail_side=512).thumbnail) <= 20_000


def test_a_thumbnail_has_twice_the_pixels_of_a_card_of_160_points() -> None:
    data = encoded(quarters().resize((800, 480)))
    assert Image.open(io.BytesIO(thumbnail(data))).size == (320, 192)
    assert Image.open(io.BytesIO(decode_photo(data, Preprocess(width=224, height=224)).thumbnail)).size == (400, 240)


def test_thumbnail_of_noise_gives_up_quality_then_size() -> None:
    data = encoded(noise((1200, 1200)), "PNG")
    for side, most in ((160, 10_000), (400, 20_000), (400, 150_000)):
        small = thumbnail(data, side, max_bytes=most)
        assert len(small) <= most
        assert max(Image.open(io.BytesIO(small)).size) <= side


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header claims a size; its data are a bomb of zeros."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(30_000, 30_000), (10_000, 10_000), (8_001, 8_000), (2**31 - 1, 2**31 - 1)])
def test_bombs_are_refused_by_their_header(size: tuple[int, int]) -> None:
    assert refused(png_of_size(*size)) == "too_many_pixels"


def test_pixel_limit_is_exact() -> None:
    data = encoded(quarters((50, 40)), "PNG")
    decode(data, SQUARE, PixelLimits(max_pixels=2000))
    assert refused(data, PixelLimits(max_pixels=1999)) == "too_many_pixels"
    with pytest.raises(ConfigError, match="max_pixels"):
        PixelLimits(max_pixels=100_000_000)
    with pytest.raises(ConfigError, match="max_scans"):
        PixelLimits(max_scans=0)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "empty"),
        (b"<!doctype html><html><body>404</body></html>", "not_an_image"),
        (b"\0" * 5000, "not_an_image"),
        (b"\xff\xd8\xff", "corrupt"),
        (b"\x89PNG\r\n\x1a\n" + b"\7" * 100, "corrupt"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "corrupt"),
        (encoded(quarters(), "GIF"), "format_not_allowed"),
        (encoded(quarters(), "BMP"), "format_not_allowed"),
        (encoded(quarters(), "TIFF"), "format_not_allowed"),
        (b"\0\0\0\x18ftypisom" + bytes(100), "format_not_allowed"),
        (b"\0\0\0\x18ftypavif" + bytes(100), "corrupt"),
    ],
)
def test_what_is_not_a_photo(data: bytes, error: str) -> None:
    assert refused(data) == error


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_are_refused(kind: str) -> None:
    data = encoded(noise((40, 40)), kind, save_all=True, append_images=[noise((40, 40), 1)])
    assert refused(data) == "animated"


def test_second_frame_of_a_phone_photo_is_ignored() -> None:
    data = encoded(quarters(), "MPO", save_all=True, append_images=[Image.new("RGB", (200, 120))])
    assert near(corners(decode(data, SQUARE))[0], RED, 12)


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_jpegs_are_refused(options: dict[str, object], share: float) -> None:
    data = encoded(noise((300, 200)), **options)
    assert refused(data[: int(len(data) * share)]) in ("truncated", "corrupt")


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_other_truncated_files_are_refused(kind: str, share: float) -> None:
    data = encoded(noise((300, 200)), kind)
    assert refused(data[: int(len(data) * share)]) in ("truncated", "corrupt")


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 4}])
def test_a_jpeg_overwritten_in_the_middle_is_refused(options: dict[str, object]) -> None:
    """libjpeg paints such damage grey and says nothing; the markers tell."""
    data = encoded(noise((300, 200)), **options)
    decode(data, SQUARE)
    half, rng = len(data) // 2, np.random.default_rng(3)
    garbage = rng.integers(0, 256, 4000, dtype=np.uint8).tobytes()
    assert refused(data[:half] + garbage + data[half + 4000 :]) in ("corrupt", "truncated")


def test_a_png_with_a_flipped_bit_is_refused() -> None:
    data = bytearray(encoded(noise((300, 200)), "PNG"))
    data[len(data) // 2] ^= 1
    assert refused(bytes(data)) == "corrupt"


def test_a_jpeg_of_thousands_of_scans_is_refused() -> None:
    data = encoded(quarters((64, 64)), progressive=True)
    last = data.rindex(b"\xff\xda")
    bomb = data[:-2] + data[last:-2] * 300 + b"\xff\xd9"
    assert refused(bomb) == "too_many_scans"


def test_a_file_of_empty_segments_is_refused() -> None:
    data = encoded(quarters())
    assert refused(data[:2] + b"\xff\xe5\0\2" * 5000 + data[2:]) == "corrupt"
    data = encoded(quarters(), "PNG")
    empty = struct.pack(">I", 0) + b"teSt" + struct.pack(">I", zlib.crc32(b"teSt"))
    decode(data[:33] + empty * 100 + data[33:], SQUARE)
    assert refused(data[:33] + empty * 50_000 + data[33:]) == "corrupt"


def test_damaged_exif_does_not_cost_the_photo() -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    data = encoded(quarters(), exif=exif)
    at = data.index(b"Exif\0\0") + 6
    broken = data[:at] + b"\xff" * 20 + data[at + 20 :]
    assert near(corners(decode(broken, SQUARE))[0], RED)


def test_trailing_bytes_are_ignored() -> None:
    data = encoded(quarters())
    assert (decode(data + b"\xff\x01trailer" * 50, SQUARE) == decode(data, SQUARE)).all()


def test_public_names() -> None:
    assert engines.pixels.__all__ == [
        "MOST_PHOTOS",
        "PHOTO_SUFFIXES",
        "Box",
        "Canvas",
        "DecodeProcesses",
        "DecodedPhoto",
        "JpegDecoder",
        "JpegDecoderName",
        "PixelLimits",
        "SlotPhoto",
        "canvas_input",
        "decode",
        "decode_canvas",
        "decode_memory_held",
        "decode_photo",
        "formats_taken",
        "is_large",
        "limit_decode_memory",
        "open_jpeg_decoder",
        "picture_kind",
        "thumbnail",
    ]
