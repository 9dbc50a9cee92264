"""What a reader found, and how training photos are set aside where a layout has no validation split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import ConfigError
from training.readers.label_table import Row

PHOTOS = frozenset({".jpg", ".jpeg", ".png", ".webp"})  # what the decoder takes
# first folders, shard names and columns say it in many ways
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass
class Found:
    """`rows` in an order that depends on names alone; `skipped`: file, line or sample → why it is not among them."""

    rows: list[Row] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def chance(name: str) -> float:
    """A number in [0, 1) that a name alone decides: the same photo is set aside on every machine."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2.0**64


def set_aside_photos(rows: list[Row], share: float) -> None:
    """Give about `share` of the training photos to `val`, one by one: for labels that every split knows."""
    for row in rows:
        if row["split"] == "train" and chance(row["path"]) < share:
            row["split"] = "val"


def set_aside_products(rows: list[Row], share: float) -> None:
    """Give about `share` of the training products to `val`, whole: for retrieval among products never trained on.

    The first photo of each becomes its gallery picture, the others are looked up. A product of one photo stays.
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
    """Photo files below `root`, relative and in order of name; other files are named in `found.skipped`."""
    for path in sorted(root.rglob("*"), key=lambda p: p.relative_to(root).parts):
        inside = path.relative_to(root)
        if not path.is_file() or any(part.startswith(".") for part in inside.parts):
            continue
        if path.suffix.lower() in PHOTOS:
            yield inside.as_posix()
        else:
            found.skipped[prefix + inside.as_posix()] = "not a JPEG, PNG or WebP file"


def nested(folder: Path, marker: str, *inside: str) -> str:
    """`""`, or the first of the folders `inside` (with a slash) that holds `marker`: archives differ in how deep they
    unpack. Raises ConfigError when none does."""
    for prefix in ("", *(f"{name}/" for name in inside)):
        if (folder / prefix / marker).exists():
            return prefix
    raise ConfigError(f"data: {folder / marker} is not there; unpack the data set so that it is")
