"""The shapes of the EfficientNet-Lite trunks and what a recipe may say of a network: read without torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

# kernel, stride, expansion, channels out, repeats (Tan & Le 2019, EfficientNet-B0 without squeeze-excite)
LITE0_STAGES: Sequence[tuple[int, int, int, int, int]] = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
LITE_FEATURES = 1280
# factors of width and depth (Tan & Le 2019, compound scaling); stem and head have the same size in all
LITE = {"efficientnet_lite0": (1.0, 1.0), "efficientnet_lite1": (1.0, 1.1), "efficientnet_lite2": (1.1, 1.2)}

OPEN_CLIP = "open_clip/"
"""How the name of a trunk begins that is the image tower of an open_clip model."""

AttentionKind = Literal["none", "channel", "spatial", "both"]
"""How the trunk's map is weighed before it is pooled (`attention.py`)."""


def lite_stages(width: float, depth: float) -> list[tuple[int, int, int, int, int]]:
    """The stages of Lite0 with `width` times the channels and `depth` times the blocks.

    Channels are rounded to the nearest multiple of 8, but never below .9 of the exact number.
    """
    stages = []
    for place, (kernel, stride, expansion, outputs, repeats) in enumerate(LITE0_STAGES):
        wanted = outputs * width
        channels = max(8, int(wanted + 4) // 8 * 8)
        ends = place in (0, len(LITE0_STAGES) - 1)  # a Lite network keeps the depth of its first and last stage
        deep = repeats if ends else math.ceil(repeats * depth)
        stages.append((kernel, stride, expansion, channels + 8 * (channels < 0.9 * wanted), deep))
    return stages
