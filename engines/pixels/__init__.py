"""Bytes to pixels: one bounded decoder for intake, search, evaluation and calibration, so that all see the same pixels.

A photo comes in as JPEG, PNG, WebP, AVIF or HEIC bytes. It becomes upright `uint8 [height, width, 3]` in sRGB, of the
size that the bundle's manifest asks for, and a small JPEG thumbnail. All metadata is dropped. Start at `decode`.
`formats` reads headers, and `budget` bounds the memory of all decodes together. `processes` decodes in other processes,
`nvimgcodec` on a GPU. `workers/intake` fetches photos, and bounds their bytes and their time. The network's graph
scales the values.
"""

from engines.pixels._fit import picture_kind
from engines.pixels._open import formats_taken
from engines.pixels.box import Box
from engines.pixels.budget import decode_memory_held, limit_decode_memory
from engines.pixels.canvas import Canvas
from engines.pixels.decode import (
    DecodedPhoto,
    canvas_input,
    decode,
    decode_canvas,
    decode_photo,
    is_large,
    thumbnail,
)
from engines.pixels.formats import PHOTO_SUFFIXES
from engines.pixels.limits import PixelLimits
from engines.pixels.multiprocess.processes import MOST_PHOTOS, DecodeProcesses, SlotPhoto
from engines.pixels.nvimgcodec import JpegDecoder, JpegDecoderName, open_jpeg_decoder

__all__ = [
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
