"""Reads boxes from a file of any format, and writes them to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from schemas.errors import ConfigError
from training.boxes.formats.coco import read_coco, write_coco
from training.boxes.formats.found import Found
from training.boxes.formats.voc import read_voc, write_voc
from training.detection.data.box_table import read_box_table
from training.detection.recipe import BoxSet
from training.detection.records import BoxedPhoto

Format = Literal["coco", "voc", "table"]
_SUFFIXES: Mapping[str, Format] = {".json": "coco", ".csv": "table"}


def format_of(path: Path) -> Format:
    """The format that a path suggests: a folder is VOC, `.json` COCO, `.csv` a table.

    Raises:
        ConfigError: it suggests none.
    """
    if path.is_dir():
        return "voc"
    found = _SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise ConfigError(f"boxes: {path}: no .json (COCO), .csv (table) or folder (VOC); name its --format")
    return found


def read_boxes(path: Path, photos: Path, form: Format | None = None) -> Found:
    """The boxed photos of a file or folder; `form` None goes by its name.

    Raises:
        ConfigError: it cannot be read; the message names the field or the line.
    """
    form = form or format_of(path)
    if form == "coco":
        return read_coco(path, photos)
    if form == "voc":
        return read_voc(path, photos)
    table = read_box_table(BoxSet(name="boxes", boxes=str(path.absolute()), share=1), photos)
    found = Found(skipped=dict(table.skipped))
    for photo in (one for split in table.photos.values() for one in split):
        if photo.path.is_file() and photo.path.resolve().is_relative_to(photos.resolve()):
            found.photos.append(photo)
        else:
            found.skipped[str(photo.path)] = f"there is no such photo below {photos}"
    return found


def write_boxes(
    out: Path,
    photos: Sequence[BoxedPhoto],
    root: Path,
    form: Literal["coco", "voc"],
    facts: Mapping[tuple[Path, int], Mapping[str, Any]] | None = None,
) -> None:
    """Write boxed photos. Arguments and errors are those of `write_coco` and `write_voc`; VOC has no `facts`."""
    if form == "coco":
        write_coco(out, photos, root, facts)
    else:
        write_voc(out, photos, root)
