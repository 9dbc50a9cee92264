"""What a reader found, and how validation photos are set aside if a layout has none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import ConfigError
from training.readers.label_table import Row

PHOTOS = frozenset({".jpg", ".jpeg", ".png", ".webp"})  # files that the decoder takes
# the words that folders, shard names and columns use
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass
class Found:
    """What a reader found.

    Attributes:
        rows: of the photos, in an order that depends on names alone.
        skipped: file, line or sample → why it is no row.
    """

    rows: list[Row] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def chance(name: str) -> float:
    """A number in [0, 1) that depends on `name` alone, so that every machine sets the same photos aside."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2.0**64


def set_aside_photos(rows: list[Row], share: float) -> None:
    """Move about `share` of the training photos to `val`, for data sets whose splits know the same labels."""
    for row in rows:
        if row["split"] == "train" and chance(row["path"]) < share:
            row["split"] = "val"


def set_aside_products(rows: list[Row], share: float) -> None:
    """Move about `share` of the training products to `val` with all their photos, to measure retrieval of products
    that are not trained on.

    The first photo of each becomes its gallery photo; the others are searched with. A product with one photo stays.
    """
    photos: dict[str, list[Row]] = {}
    for row in rows:
        if row["split"] == "train":
            photos.setdefault(row["product"], []).append(row)
    for product, group in photos.items():
        if len(group) > 1 and chance(product) < share:
            for row in group:
                row["split"] = "val"
            group[0]["domain"] = "gallery"


def photos_below(root: Path, found: Found, prefix: str = "") -> Iterator[str]:
    """Photo files below `root`, as relative paths in order of name. Other files are named in `found.skipped`."""
    for path in sorted(root.rglob("*"), key=lambda p: p.relative_to(root).parts):
        inside = path.relative_to(root)
        if not path.is_file() or any(part.startswith(".") for part in inside.parts):
            continue
        if path.suffix.lower() in PHOTOS:
            yield inside.as_posix()
        else:
            found.skipped[prefix + inside.as_posix()] = "not a JPEG, PNG or WebP file"


def nested(folder: Path, marker: str, *inside: str) -> str:
    """Where in `folder` a data set begins, because archives unpack to different depths: "" or one of the folders
    `inside` with a slash, whichever is the first that contains `marker`.

    Raises:
        ConfigError: none of them does.
    """
    for prefix in ("", *(f"{name}/" for name in inside)):
        if (folder / prefix / marker).exists():
            return prefix
    raise ConfigError(f"data: there is no {folder / marker}; unpack the data set so that there is")
