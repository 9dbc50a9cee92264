"""Where a product is in a photo, and how an epoch looks for it."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.units import Share

DIGITS = 4
"""Decimals of a box: a ten-thousandth of a phone's photo is less than a pixel."""
MOST_BOXES = 64
"""The most boxes of a photo that anybody may ask for."""

PADDING = 0.05
"""By default a box is made wider by this share of it on each side."""
THRESHOLD = 0.4
"""By default the least confidence of a box."""

BoxShares = Annotated[
    tuple[Share, Share, Share, Share],
    Meta(description="left, top, right and bottom in shares of the upright photo, with four decimals"),
]


class DetectPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an epoch finds the products of a photo before it describes them. All of it decides the hashes.

    `subject`: the most confident box, or the whole photo where there is none. `all`: every box, at most `most_boxes`,
    or the whole photo where there is none. `padding` widens a box on each side by this share of the box.
    """

    mode: Literal["subject", "all"]
    detector_id: Annotated[str, Meta(pattern=r"^[0-9a-f]{12}$")]
    padding: Annotated[float, Meta(ge=0, le=1)]
    threshold: Share
    most_boxes: Annotated[int, Meta(ge=1, le=MOST_BOXES)]

    def epoch_of(self, epoch: str) -> str:
        """The epoch of a bundle of `epoch` together with this plan: 12 hex digits of a sha256."""
        return hashlib.sha256(epoch.encode() + msgspec.json.encode(self, order="sorted")).hexdigest()[:12]
