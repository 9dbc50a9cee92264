"""What every reader of boxes gives: a photo and the boxes that are known in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.pixels import Box

PRODUCT = "product"
"""The kind that stands for any product."""

IGNORED = "ignored"
"""The kind of a box that teaches nothing, neither product nor background: a person in clothes, a crowd, a doubtful
box."""


@dataclass(frozen=True, slots=True)
class BoxedPhoto:
    """A photo with its boxes.

    Attributes:
        path: the photo's file.
        boxes: in shares of the upright photo. None at all means that the photo shows no product.
        kinds: the kind of each box, in the same order.

    Raises:
        ValueError: boxes and kinds differ in number.
    """

    path: Path
    boxes: tuple[Box, ...]
    kinds: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.boxes) != len(self.kinds):
            raise ValueError(f"{self.path}: {len(self.boxes)} boxes but {len(self.kinds)} kinds; give each box a kind")
