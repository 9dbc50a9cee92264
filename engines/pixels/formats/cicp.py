"""Colours that a file names by numbers instead of a profile: CICP, in a box `colr` of HEIC and AVIF or a PNG's `cICP`.

The numbers become a small colour profile, so that one place converts all photos (`engines/pixels/_colour.py`).
Sources: ITU-T H.273, 8.1 and 8.2; ICC.1:2022, 7 and 10.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_D65, _DCI = (0.3127, 0.3290), (0.314, 0.351)
# Primaries → red, green and blue as x, y; white as x, y.
_PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),  # BT.709 and sRGB
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), _D65),  # BT.470 BG
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),  # BT.601, 525 lines
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),  # SMPTE 240
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),  # BT.2020
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _DCI),  # the P3 of cinemas
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),  # Display P3
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),  # EBU 3213
}
# Transfer → exponent; None is the curve of sRGB. Viewers show BT.709, BT.601 and BT.2020 with that of sRGB, too.
_TRANSFERS = {1: None, 2: None, 6: None, 13: None, 14: None, 15: None, 4: 2.2, 5: 2.8, 8: 1.0}
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
_D50 = (0.9642, 1.0, 0.82491)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


@lru_cache(maxsize=64)
def profile_of(primaries: int, transfer: int) -> bytes | None:
    """Return a display profile for two numbers of CICP; None where the colours are to be taken as sRGB.

    These are sRGB itself, numbers without a meaning, and HDR (PQ and HLG), whose brightness no display profile has.
    """
    if primaries not in _PRIMARIES or transfer not in _TRANSFERS:
        return None
    exponent = _TRANSFERS[transfer]
    if primaries == 1 and exponent is None:
        return None
    if exponent is None:
        curve = struct.pack(">HH", 3, 0) + b"".join(map(_fixed, _SRGB_CURVE))
    else:
        curve = struct.pack(">HH", 0, 0) + _fixed(exponent)
    tags = [(b"wtpt", _point(_D50))]
    tags += [
        (name, _point(column)) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), _columns(primaries), strict=True)
    ]
    tags += [(name, b"para" + bytes(4) + curve) for name in (b"rTRC", b"gTRC", b"bTRC")]
    return _file(tags)


def _columns(primaries: int) -> list[list[float]]:
    """XYZ of red, green and blue, adapted to D50."""
    *corners, white = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in _PRIMARIES[primaries])
    matrix = np.stack(corners, 1)
    scaled: NDArray[np.float64] = matrix * np.linalg.solve(matrix, white)
    cones = (_BRADFORD @ np.array(_D50)) / (_BRADFORD @ white)
    adapted = np.linalg.inv(_BRADFORD) @ (cones[:, None] * (_BRADFORD @ scaled))
    columns: list[list[float]] = adapted.T.tolist()
    return columns


def _file(tags: list[tuple[bytes, bytes]]) -> bytes:
    """A display profile of version 4 with these tags."""
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for signature, content in tags:
        data = content + bytes(-len(content) % 4)
        table += signature + struct.pack(">II", offset + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", offset + len(body), bytes(4), 0x04300000, b"mntr", b"RGB ", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + b"".join(map(_fixed, _D50))
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + body


def _point(values: tuple[float, ...] | list[float]) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(map(_fixed, values))


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))
