"""The decoder: checks, one decode at a reduced scale, then the network's input and a thumbnail.

The steps, cheapest first: magic bytes → structure of the file → header (format, size, frames) → reduced decode
(`draft`) → orientation → colour → resize. No function keeps state, so all are thread-safe. Pillow frees the interpreter
lock while it decodes and resizes.
"""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from engines.pixels._colour import to_rgb
from engines.pixels._structure import check_jpeg, check_png
from engines.pixels.box import Box, cut
from engines.pixels.limits import PixelLimits
from engines.pixels.nvimgcodec import JpegDecoder
from schemas.errors import Invalid
from schemas.manifest import Preprocess

FORMATS = ("JPEG", "PNG", "WEBP")
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
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_REDUCING_GAP = 3.0  # shrinking by more than 3: box-reduce first, which looks the same and is 3x faster on large PNGs
_THUMBNAIL_GAP = 1.0  # average whole pixels first at every scale: saves 0.25 ms a photo, invisibly
_REDUCIBLE = frozenset({"L", "LA", "RGB", "RGBA", "CMYK"})  # modes in which a mean of values is a mean of colours
_OTHER_FORMATS = (b"GIF8", b"BM", b"II*\0", b"MM\0*", b"%PDF", b"\0\0\x01\0", b"8BPS", b"\xff\x0a", b"\0\0\0\x0cJXL")

# Between 1 and 2 times its own bound Pillow only warns. We refuse such a photo before decoding it.
warnings.simplefilter("error", Image.DecompressionBombWarning)


@dataclass(frozen=True)
class DecodedPhoto:
    """One photo after its single decode.

    Attributes:
        pixels: the network's input, uint8 [preprocess.height, preprocess.width, 3], upright sRGB.
        thumbnail: WebP bytes of the whole upright photo, at most MAX_THUMBNAIL_BYTES, without metadata.
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
        data: the bytes of a JPEG, PNG or WebP photo.
        preprocess: size, mode and interpolation, from the bundle's manifest.
        limits: bounds of the header; see `PixelLimits`.
        box: the subject in the upright photo. It is cut out before the resize, with edges rounded to whole decoded
            pixels. None takes the whole photo.
        jpeg: decodes the JPEGs that it can, after the same checks. Its pixels differ from Pillow's by less than 1 of
            255 on average and by 24 at most. Pillow decodes or refuses everything else.

    Returns:
        uint8 [preprocess.height, preprocess.width, 3], upright, in sRGB. Equal arguments give equal pixels.

    Raises:
        Invalid: stage `decode`; `error` is one of `empty`, `not_an_image`, `format_not_allowed`, `too_many_pixels`,
            `too_many_scans`, `animated`, `truncated`, `corrupt`.
        RuntimeError: the device of `jpeg` failed, and no photo is to blame.
    """
    upright, _, _ = _upright(data, preprocess, limits, box, jpeg)
    return _fit(upright, preprocess)


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
        data: the bytes of a JPEG, PNG or WebP photo.
        preprocess: size, mode and interpolation, from the bundle's manifest.
        thumbnail_side: the thumbnail's longer side, in pixels.
        limits: bounds of the header.
        jpeg: see `decode`.
        out: uint8 [preprocess.height, preprocess.width, 3] to write the pixels to; None makes a new array.
    """
    upright, width, height = _upright(data, preprocess, limits, jpeg=jpeg)
    return DecodedPhoto(
        _fit(upright, preprocess, out), _thumbnail(upright, thumbnail_side, MAX_THUMBNAIL_BYTES), width, height
    )


def thumbnail(
    data: bytes,
    side: int = THUMBNAIL_SIDE,
    limits: PixelLimits = _DEFAULT_LIMITS,
    *,
    max_bytes: int = MAX_THUMBNAIL_BYTES,
) -> bytes:
    """Return WebP bytes of the upright photo: at most `max_bytes`, longer side at most `side` pixels, no metadata.

    It decodes at a scale of its own, so its bytes may differ slightly from those of `decode_photo`. Raises as `decode`
    does.
    """
    upright, _, _ = _upright(data, Preprocess(width=max(16, side), height=max(16, side)), limits)
    return _thumbnail(upright, side, max_bytes)


def _upright(
    data: bytes,
    preprocess: Preprocess,
    limits: PixelLimits,
    box: Box | None = None,
    jpeg: JpegDecoder | None = None,
) -> tuple[Image.Image, int, int]:
    """Return the upright RGB photo, perhaps cut and reduced, and the original's upright width and height."""
    image, ends = _open(data, limits)
    _check_header(image, limits)
    width, height = image.size
    there = _elsewhere(data, image, preprocess, box, jpeg) if jpeg is not None and ends else None
    try:
        # A PNG may have its EXIF after the pixels and cannot be reduced, so load it first. Draft a JPEG before loading.
        if image.format == "PNG":
            image.load()
        orientation = _orientation(image)
        turned = orientation in _TURNED
        profile = image.info.get("icc_profile")
        if there is not None:
            image = Image.fromarray(there)
        else:
            image.draft("RGB", _wanted(preprocess, box, turned))
            if isinstance(image, JpegImageFile):
                image.decodermaxblock = len(data)  # one read instead of one for each 64 KB saves 1 % of a decode
            image.load()
            profile = image.info.get("icc_profile", profile)
        if box is not None:
            image = cut(image, box.lying(orientation))
        image = _reduced(image, preprocess)
        if orientation in _ORIENTATIONS:
            image = image.transpose(_ORIENTATIONS[orientation])
        rgb = to_rgb(image, profile if isinstance(profile, bytes) else None)
    except MemoryError:
        raise
    except Exception as error:  # however a decoder fails on these bytes, only these bytes are to blame
        raise _decoder_error(error) from None
    return (rgb, height, width) if turned else (rgb, width, height)


def _wanted(preprocess: Preprocess, box: Box | None, turned: bool) -> tuple[int, int]:
    """Return the least width and height to decode to, for the photo as stored in the file."""
    width, height = preprocess.width, preprocess.height
    if box is not None:  # the part must have the wanted pixels, so the whole needs more
        width, height = math.ceil(width / (box.right - box.left)), math.ceil(height / (box.bottom - box.top))
    return (height, width) if turned else (width, height)


def _elsewhere(
    data: bytes, image: Image.Image, preprocess: Preprocess, box: Box | None, jpeg: JpegDecoder
) -> np.ndarray | None:
    """Decode the photo with `jpeg`, at the scale that `draft` would choose, or return None if Pillow has to do it.

    The scale is the smallest of 1, 1/2, 1/4 and 1/8 that is not below the wanted size. Only luma and chroma in the
    numbering of JFIF and EXIF are decoded here, because every decoder reads them alike.
    """
    if not isinstance(image, JpegImageFile) or image.mode != "RGB" or image.info.get("adobe_transform") == 0:
        return None
    if [layer[0] for layer in image.layer] != [1, 2, 3]:
        return None
    wanted = _wanted(preprocess, box, _orientation(image) in _TURNED)
    most = min(image.width // wanted[0], image.height // wanted[1])
    scale = min(8, 1 << (most.bit_length() - 1)) if most else 1
    pixels = jpeg.decode(data, image.size, scale)
    expected = (-(-image.height // scale), -(-image.width // scale), 3)
    return pixels if pixels is not None and pixels.shape == expected else None


def _reduced(image: Image.Image, preprocess: Preprocess) -> Image.Image:
    """Average whole pixels first if a photo is many times larger than wanted.

    JPEGs were drafted already. A 64 megapixel PNG with alpha would otherwise take 0.7 GB and a second for its colours.
    """
    factor = int(min(image.width / preprocess.width, image.height / preprocess.height) / _REDUCING_GAP)
    if factor < 2 or image.mode not in _REDUCIBLE or "transparency" in image.info:
        return image
    return image.reduce(factor)


def _open(data: bytes, limits: PixelLimits) -> tuple[Image.Image, bool]:
    """Read the header. Return the image, and whether it is a JPEG that has its end. Raises Invalid."""
    ends = False
    if not data:
        raise Invalid("decode", "empty", "the photo has no bytes; send it again")
    if data.startswith(b"\xff\xd8\xff"):
        ends = check_jpeg(data, limits.max_scans)
    elif data.startswith(b"\x89PNG"):
        check_png(data)
    elif not (data.startswith(b"RIFF") and data[8:12] == b"WEBP"):
        if data.startswith(_OTHER_FORMATS) or data[4:8] == b"ftyp":
            raise Invalid("decode", "format_not_allowed", "not a JPEG, PNG or WebP photo; convert it to one of them")
        raise Invalid("decode", "not_an_image", "the bytes are not a photo; send JPEG, PNG or WebP")
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS), ends
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Invalid("decode", "too_many_pixels", "too many pixels; send a smaller photo") from None
    except MemoryError:
        raise
    except Exception:  # every header parser raises its own types, and the bytes are always at fault
        raise Invalid("decode", "corrupt", "the photo's header cannot be read; send it again") from None


def _check_header(image: Image.Image, limits: PixelLimits) -> None:
    width, height = image.size
    if width * height > limits.max_pixels:
        text = f"{width} x {height} pixels, at most {limits.max_pixels} in all; send a smaller photo"
        raise Invalid("decode", "too_many_pixels", text)
    # A second JPEG frame (MPO) is a phone's depth or gain map, which is never shown. The first frame is the photo.
    if image.format in ("PNG", "WEBP") and getattr(image, "n_frames", 1) > 1:
        raise Invalid("decode", "animated", "an animation, not a photo; send a still picture")


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


def _fit(image: Image.Image, preprocess: Preprocess, out: np.ndarray | None = None) -> np.ndarray:
    """Resize by the manifest's mode: uint8 [height, width, 3], in `out` if that is given."""
    fitted = _resized(image, preprocess)
    if out is None:
        return np.array(fitted)
    out[:] = np.asarray(fitted)  # without another copy
    return out


def _resized(image: Image.Image, preprocess: Preprocess) -> Image.Image:
    size = (preprocess.width, preprocess.height)
    resampling = _FILTERS[preprocess.interpolation]
    if preprocess.mode == "pad":
        scale = min(size[0] / image.width, size[1] / image.height)
        inner = (_scaled(image.width, scale, size[0]), _scaled(image.height, scale, size[1]))
        canvas = Image.new("RGB", size, preprocess.pad_colour)
        place = ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2)
        canvas.paste(image.resize(inner, resampling, reducing_gap=_REDUCING_GAP), place)
        return canvas
    box = None
    if preprocess.mode == "crop":
        scale = max(size[0] / image.width, size[1] / image.height)
        width, height = size[0] / scale, size[1] / scale
        left, top = (image.width - width) / 2, (image.height - height) / 2
        box = (max(0.0, left), max(0.0, top), min(image.width, left + width), min(image.height, top + height))
    return image.resize(size, resampling, box, reducing_gap=_REDUCING_GAP)


def _thumbnail(image: Image.Image, side: int, max_bytes: int) -> bytes:
    """Encode a WebP of at most `max_bytes`. Pure noise loses quality, then size, until it fits."""
    quality = 70
    while True:
        scale = min(1.0, side / max(image.size))
        size = (_scaled(image.width, scale, side), _scaled(image.height, scale, side))
        small = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=_THUMBNAIL_GAP)
        small.info.clear()  # drop the original's metadata
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=quality, method=0)  # 1 ms; method 2 saves 10 % of bytes but takes 2 ms
        if buffer.tell() <= max_bytes:
            return buffer.getvalue()
        quality, side = (quality - 30, side) if quality > 30 else (quality, side * 3 // 4)


def _scaled(length: int, scale: float, most: int) -> int:
    return min(most, max(1, round(length * scale)))
