"""Chooses the frames of a clip to search with: sharp ones that agree on what they show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

USED = 3
"""At most so many frames are searched with: further ones of the same thing hardly change an answer."""
_BLURRED = 0.5  # of the sharpest frame's sharpness: a frame below is blurred by a moving hand
_AGREE_BITS = 64  # of 256: two photos of one product differ by less, two different products by 90 and more
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def sharpness(pixels: NDArray[np.uint8]) -> float:
    """The variance of the Laplacian of the luma of a photo, uint8 [h, w, 3]: the sharper, the larger.

    Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000.
    """
    luma = pixels.astype(np.float32) @ _LUMA
    around = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    return float(np.var(around - 4 * luma[1:-1, 1:-1]))


def best_frames(sharp: Sequence[float], hashes: Sequence[str]) -> list[int]:
    """The places of up to USED frames, given each frame's sharpness and hash (64 hex digits). The first one is the
    frame that agrees best with the others.

    Blurred frames are left out, unless all are. Two of the others agree if at most a quarter of their bits differ. The
    frame that agrees with most frames comes first, of equals the one that is nearest to them, then the sharper one. It
    is followed by the frames that agree with it, the nearest first.
    """
    kept = [i for i, value in enumerate(sharp) if value >= _BLURRED * max(sharp)]
    codes = np.frombuffer(bytes.fromhex("".join(hashes[i] for i in kept)), np.uint8).reshape(len(kept), -1)
    apart = np.bitwise_count(codes[:, None] ^ codes[None]).sum(axis=2)
    agree = apart <= _AGREE_BITS
    inside = np.where(agree, apart, 0).sum(axis=1)
    centre = min(range(len(kept)), key=lambda i: (-int(agree[i].sum()), int(inside[i]), -sharp[kept[i]]))
    near = sorted(range(len(kept)), key=lambda i: (i != centre, int(apart[centre, i]), -sharp[kept[i]]))
    return [kept[i] for i in near if agree[centre, i]][:USED]
