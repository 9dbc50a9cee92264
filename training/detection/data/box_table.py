"""Reads tables of boxes: one CSV row for each box, in any of the usual column conventions."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from engines.pixels import Box
from schemas.errors import ConfigError
from training.detection.recipe import BoxSet
from training.detection.records import IGNORED, PRODUCT, BoxedPhoto
from training.readers.label_table import Row
from training.readers.splits import chance, split_by_name

_SHARES = ("left", "top", "right", "bottom")
_EDGES = (("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"))
_CORNER = ("x", "y", "w", "h")
_SIDES = (("W", "H"), ("width", "height"))
_NEED = "path, and left, top, right, bottom in shares, or x0, y0, x1, y1, or xmin, ymin, xmax, ymax, or x, y, w, h"


@dataclass
class FoundBoxes:
    """What a table of boxes holds.

    Attributes:
        photos: split → the boxed photos, in the order of the table.
        skipped: file and line → why a row is no box.
    """

    photos: dict[str, list[BoxedPhoto]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def read_box_table(spec: BoxSet, data: Path) -> FoundBoxes:
    """The boxes of a table by split.

    A row has `path`, relative to the set's folder, and the edges of a box in one of these conventions: `left, top,
    right, bottom` as shares of the photo; `x0, y0, x1, y1` or `xmin, ymin, xmax, ymax` in pixels; or `x, y, w, h`, the
    corner and the size in pixels. The sides of a photo in pixels are `W, H` or `width, height`; without these columns
    they come from the photo itself. `label` or `kind` names what is in the box, and `split` the photo's split.

    A photo of the `splits` table without any box counts as one that shows no product. A box that is narrower than a
    hundredth of the photo is left out.

    Raises:
        ConfigError: a file is missing, or a row has no box; the message names file and line.
    """
    folder = data / spec.folder
    found = FoundBoxes()
    splits = _splits(folder / spec.splits) if spec.splits else {}
    boxes: dict[str, list[tuple[Box, str]]] = {path: [] for path in splits}
    sizes: dict[str, tuple[float, float]] = {}
    for line, row in _rows(folder / spec.boxes):
        try:
            path, kind = row["path"], _kind(spec, row)
            listed = boxes.setdefault(path, [])
            splits.setdefault(path, row.get("split") or "train")
            if kind:
                listed.append((_box(row, folder, sizes), kind))
        except ValueError as error:
            found.skipped[f"{spec.boxes}:{line}"] = str(error)
        except (KeyError, TypeError) as error:
            raise ConfigError(f"boxes: {folder / spec.boxes}:{line}: {error!r}; a row has {_NEED}") from None
    for path, here in boxes.items():
        photo = BoxedPhoto(folder / path, tuple(box for box, _ in here), tuple(kind for _, kind in here))
        found.photos.setdefault(_split(spec, path, splits[path]), []).append(photo)
    return found


def _kind(spec: BoxSet, row: Row) -> str:
    """The kind of a row's box; empty if the box is background."""
    label = row.get("label") or row.get("kind") or PRODUCT
    if label in spec.ignore:
        return IGNORED
    if spec.keep and label not in spec.keep:
        return ""
    return spec.kind or label


def _split(spec: BoxSet, path: str, told: str) -> str:
    """The split of a photo: as the set says, with validation and test photos taken from those of training by name."""
    if told == "any":
        return split_by_name(path, spec.validation)
    drawn = chance(path)
    if told == "train" and drawn < spec.validation:
        return "val"
    return "test" if told == "train" and drawn >= 1 - spec.test else told


def _rows(file: Path) -> Sequence[tuple[int, Row]]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            return list(enumerate(csv.DictReader(lines), start=2))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"boxes: {file}: {error}; name the table with the boxes") from None


def _splits(file: Path) -> dict[str, str]:
    try:
        return {row["path"]: row.get("split") or "any" for _, row in _rows(file)}
    except KeyError:
        raise ConfigError(f"splits: {file}: no column `path`; a table of splits has path and split") from None


def _box(row: Row, folder: Path, sizes: dict[str, tuple[float, float]]) -> Box:
    """Raises ValueError if it is outside the photo or too narrow, KeyError if the columns are of no convention."""
    if "left" in row:
        return Box(*(_clipped(float(row[name])) for name in _SHARES))
    names = next((names for names in _EDGES if names[0] in row), _CORNER)
    x0, y0, x1, y1 = (float(row[name]) for name in names)
    if names is _CORNER:
        x1, y1 = x0 + x1, y0 + y1
    width, height = _size(row, folder, sizes)
    return Box(_clipped(x0 / width), _clipped(y0 / height), _clipped(x1 / width), _clipped(y1 / height))


def _clipped(edge: float) -> float:
    return min(1.0, max(0.0, edge))  # boxes drawn by hand may reach a little beyond the photo


def _size(row: Row, folder: Path, sizes: dict[str, tuple[float, float]]) -> tuple[float, float]:
    """Width and height of the row's photo in pixels, from the row or from the photo itself."""
    for wide, high in _SIDES:
        if row.get(wide) and row.get(high):
            return float(row[wide]), float(row[high])
    path = row["path"]
    if path not in sizes:
        try:
            with Image.open(folder / path) as photo:
                width, height = photo.size
                turned = photo.getexif().get(0x0112, 1) >= 5  # the orientations that swap the sides
        except OSError as error:
            raise ValueError(f"{path}: cannot be read ({error})") from None
        sizes[path] = (height, width) if turned else (width, height)
    return sizes[path]
