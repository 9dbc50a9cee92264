"""The decoder: checks, one decode at a reduced scale, then the network's input and a thumbnail.

The steps, cheapest first: header (format, size, memory) → a share of the process's memory → structure of the file →
reduced decode (`draft`) → alpha and palette → orientation → colour → resize. All functions are thread-safe. Pillow
frees the interpreter lock while it decodes and resizes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from engines.pixels._colour import flattened, to_srgb
from engines.pixels._fit import fit, jpeg_thumbnail, webp_picture
from engines.pixels._open import Opened
from engines.pixels.box import Box, region
from engines.pixels.budget import PROCESS
from engines.pixels.canvas import Canvas
from engines.pixels.cost import decode_cost, draft_scale, wanted
from engines.pixels.formats import Header, sketch
from engines.pixels.limits import PixelLimits
from engines.pixels.nvimgcodec import JpegDecoder
from schemas.errors import Invalid
from schemas.manifest import Preprocess

MAX_THUMBNAIL_BYTES = 20_000  # the store's limit for one photo; 2 % of thumbnails lose quality for it
THUMBNAIL_SIDE = 320  # a card of 160 points on a phone has twice as many pixels

_DEFAULT_LIMITS = PixelLimits()
_ORIENTATION_TAG = 0x0112
_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED = frozenset({5, 6, 7, 8})  # these swap width and height


@dataclass(frozen=True)
class DecodedPhoto:
    """One photo after its single decode.

    Attributes:
        pixels: the network's input, uint8 [preprocess.height, preprocess.width, 3], upright sRGB.
        thumbnail: JPEG bytes of the whole upright photo, at most MAX_THUMBNAIL_BYTES, without metadata.
        width: of the upright original, in pixels.
        height: of the upright original, in pixels.
    """

    pixels: np.ndarray
    thumbnail: bytes
    width: int
    height: int


def decode(
    data: bytes,
    preprocess: Preprocess,
    limits: PixelLimits = _DEFAULT_LIMITS,
    box: Box | None = None,
    jpeg: JpegDecoder | None = None,
) -> np.ndarray:
    """Decode one photo, or the part of it inside `box`, to the network's input.

    Args:
        data: the bytes of a JPEG, PNG, WebP, AVIF or, with the extra `heif`, HEIC photo.
        preprocess: size, mode and interpolation, from the bundle's manifest.
        limits: bounds of one photo; see `PixelLimits`. The memory comes from `engines/pixels/budget.py`.
        box: the subject in the upright photo. It is cut out before the resize, with edges rounded to whole decoded
            pixels. None takes the whole photo.
        jpeg: decodes the JPEGs that it can, after the same checks. Its pixels differ from Pillow's by less than 1 of
            255 on average and by 24 at most. Pillow decodes or refuses everything else.

    Returns:
        uint8 [preprocess.height, preprocess.width, 3], upright, in sRGB. Equal arguments give equal pixels.

    Raises:
        Invalid: stage `decode`; `error` is one of `empty`, `not_an_image`, `format_not_allowed`, `too_many_pixels`,
            `too_many_scans`, `over_budget`, `too_slow`, `animated`, `truncated`, `corrupt`.
        RuntimeError: the device of `jpeg` failed, and no photo is to blame.
    """
    with _upright(data, preprocess, limits, box, jpeg) as (upright, _, _):
        return fit(upright, preprocess)


def decode_photo(
    data: bytes,
    preprocess: Preprocess,
    thumbnail_side: int = THUMBNAIL_SIDE,
    limits: PixelLimits = _DEFAULT_LIMITS,
    jpeg: JpegDecoder | None = None,
    *,
    out: np.ndarray | None = None,
) -> DecodedPhoto:
    """Decode once, and return the pixels of `decode` and a thumbnail. Raises as `decode` does.

    Args:
        data: the bytes of a JPEG, PNG, WebP, AVIF or, with the extra `heif`, HEIC photo.
        preprocess: size, mode and interpolation, from the bundle's manifest.
        thumbnail_side: the longer side of the thumbnail, in pixels; up to a quarter more, where the decode gives it.
        limits: bounds of one photo.
        jpeg: see `decode`.
        out: uint8 [preprocess.height, preprocess.width, 3] to write the pixels to; None makes a new array.
    """
    with _upright(data, preprocess, limits, jpeg=jpeg) as (upright, width, height):
        small = jpeg_thumbnail(upright, thumbnail_side, MAX_THUMBNAIL_BYTES)
        return DecodedPhoto(fit(upright, preprocess, out), small, width, height)


def decode_canvas(
    data: bytes,
    side: int,
    thumbnail_side: int = 0,
    limits: PixelLimits = _DEFAULT_LIMITS,
    jpeg: JpegDecoder | None = None,
) -> tuple[Canvas, bytes]:
    """Decode once, for several parts to be cut out. Raises as `decode` does.

    Args:
        data: the bytes of a JPEG, PNG, WebP, AVIF or, with the extra `heif`, HEIC photo.
        side: both sides of the canvas have at least so many pixels, if the photo has them, and the canvas at most
            `canvas.MOST_PIXELS`.
        thumbnail_side: as in `decode_photo`; 0 makes none.
        limits: bounds of one photo.
        jpeg: see `decode`.

    Returns:
        The canvas, and the JPEG bytes of the thumbnail of the whole photo, which are empty without.
    """
    with _upright(data, canvas_input(side), limits, jpeg=jpeg) as (upright, _, _):
        small = jpeg_thumbnail(upright, thumbnail_side, MAX_THUMBNAIL_BYTES) if thumbnail_side else b""
        return Canvas.of(upright, side), small


def canvas_input(side: int) -> Preprocess:
    """A canvas's size, in the form in which the size of a decode is given."""
    return Preprocess(width=side, height=side)


def thumbnail(
    data: bytes,
    side: int = THUMBNAIL_SIDE,
    limits: PixelLimits = _DEFAULT_LIMITS,
    *,
    max_bytes: int = MAX_THUMBNAIL_BYTES,
) -> bytes:
    """Return WebP bytes of the upright photo: at most `max_bytes`, longer side at most `side` pixels, no metadata.

    It is for pictures that are made when somebody looks at them. It decodes at a scale of its own. The thumbnails that
    are stored are JPEGs of `decode_photo`, which cost less processor time. Raises as `decode` does.
    """
    with _upright(data, Preprocess(width=max(16, side), height=max(16, side)), limits) as (upright, _, _):
        return webp_picture(upright, side, max_bytes)


def cost_of(data: bytes, preprocess: Preprocess) -> int:
    """Return the bytes that the decode of a photo needs; 0 if its header is refused. Takes about 20 microseconds."""
    try:
        return decode_cost(_header(data, _DEFAULT_LIMITS), len(data), preprocess)
    except Invalid:
        return 0


def is_large(data: bytes, preprocess: Preprocess) -> bool:
    """Whether the decode of a photo needs more than a quarter of this process's memory for decodes. Takes about 20
    microseconds."""
    return PROCESS.is_large(cost_of(data, preprocess))


@contextmanager
def _upright(
    data: bytes,
    preprocess: Preprocess,
    limits: PixelLimits,
    box: Box | None = None,
    jpeg: JpegDecoder | None = None,
) -> Iterator[tuple[Image.Image, int, int]]:
    """Hold the memory of a decode, and give the upright RGB photo, perhaps cut and reduced, and the original's size."""
    header = _header(data, limits)
    with PROCESS.hold(decode_cost(header, len(data), preprocess, box)):
        opened = Opened(data, header, limits)
        width, height = opened.image.size
        there = _elsewhere(data, opened, preprocess, box, jpeg) if jpeg is not None and opened.whole else None
        try:
            rgb, turned = _rgb(opened, header, preprocess, box, there)
            opened.clock.check()
        except MemoryError:
            raise
        except Exception as error:  # however a decoder fails on these bytes, only these bytes are to blame
            raise _decoder_error(error) from None
        yield (rgb, height, width) if turned else (rgb, width, height)


def _header(data: bytes, limits: PixelLimits) -> Header:
    header = sketch(data)
    if header.width * header.height > limits.max_pixels:
        text = f"{header.width} x {header.height} pixels, at most {limits.max_pixels} in all; send a smaller photo"
        raise Invalid("decode", "too_many_pixels", text)
    return header


def _rgb(
    opened: Opened, header: Header, preprocess: Preprocess, box: Box | None, there: np.ndarray | None
) -> tuple[Image.Image, bool]:
    """Decode, and return the upright photo in sRGB, and whether width and height were swapped for it."""
    # A PNG may have its EXIF after the pixels and cannot be reduced, so load it first. Draft a JPEG before loading.
    if header.kind == "PNG":
        opened.load((1, 1))
    orientation = _orientation(opened.image)
    turned = orientation in _TURNED
    profile = opened.profile or opened.image.info.get("icc_profile")
    if there is not None:
        image = Image.fromarray(there)
    else:
        if header.kind != "PNG":
            opened.load(wanted(preprocess, box, turned))
        image = opened.image
        profile = image.info.get("icc_profile") or profile
    part = None if box is None else region(image, box.lying(orientation))
    image = flattened(image, preprocess, part)
    del opened.image
    if orientation in _ORIENTATIONS:
        image = image.transpose(_ORIENTATIONS[orientation])
    return to_srgb(image, profile if isinstance(profile, bytes) else None), turned


def _elsewhere(
    data: bytes, opened: Opened, preprocess: Preprocess, box: Box | None, jpeg: JpegDecoder
) -> np.ndarray | None:
    """Decode the photo with `jpeg`, at the scale that `draft` would choose, or return None if Pillow has to do it.

    Only luma and chroma in the numbering of JFIF and EXIF are decoded here, because every decoder reads them alike.
    """
    image = opened.image
    if not isinstance(image, JpegImageFile) or image.mode != "RGB" or image.info.get("adobe_transform") == 0:
        return None
    if [layer[0] for layer in image.layer] != [1, 2, 3]:
        return None
    least = wanted(preprocess, box, _orientation(image) in _TURNED)
    scale = draft_scale(image.width, image.height, least)
    pixels = jpeg.decode(data, image.size, scale)
    expected = (-(-image.height // scale), -(-image.width // scale), 3)
    return pixels if pixels is not None and pixels.shape == expected else None


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if it is absent or damaged."""
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except MemoryError:
        raise
    except Exception:  # damaged EXIF must not cost the photo: show it as stored, as viewers do
        return 1


def _decoder_error(error: Exception) -> Invalid:
    if isinstance(error, Invalid):
        return error
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return Invalid("decode", "truncated", "the photo ends before its last row; send the whole file")
    return Invalid("decode", "corrupt", f"the photo's data is damaged ({type(error).__name__}); send it again")
