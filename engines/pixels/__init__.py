"""Bytes to pixels: one bounded decoder for intake, search, evaluation and calibration, so that all see the same.

A photo comes in as JPEG, PNG or WebP bytes and leaves as upright `uint8 [height, width, 3]` sRGB of the size that the
bundle's manifest asks for, and as a small WebP thumbnail; every piece of metadata stays behind. Fetching, and the
bounds on bytes and time, are `workers/intake`'s; scaling of values is inside the network's graph.
"""

from engines.pixels.box import Box
from engines.pixels.decode import DecodedPhoto, decode, decode_photo, thumbnail
from engines.pixels.limits import PixelLimits
from engines.pixels.nvimgcodec import JpegDecoder, JpegDecoderName, open_jpeg_decoder
from engines.pixels.processes import MOST_PHOTOS, DecodeProcesses, SlotPhoto

__all__ = [
    "MOST_PHOTOS",
    "Box",
    "DecodeProcesses",
    "DecodedPhoto",
    "JpegDecoder",
    "JpegDecoderName",
    "PixelLimits",
    "SlotPhoto",
    "decode",
    "decode_photo",
    "open_jpeg_decoder",
    "thumbnail",
]
