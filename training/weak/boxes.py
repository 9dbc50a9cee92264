"""Which parts of a photo to look at: a detector's boxes from a file, or the whole photo."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from engines.pixels import Box
from schemas.errors import ConfigError
from training.readers.label_table import Row

_SHARES = ("left", "top", "right", "bottom")
_PIXELS = ("x0", "y0", "x1", "y1", "W", "H")

Boxes = Mapping[str, Sequence[Box]]
"""Path of a photo → its boxes. A photo that is not listed is looked at as a whole."""


def read_boxes(file: Path) -> Boxes:
    """The boxes of a CSV file with one row for each box.

    A row has `path` and either `left, top, right, bottom` as shares of the upright photo, or `x0, y0, x1, y1, W, H` in
    pixels.

    Raises:
        ConfigError: a row is no box; the message names its line.
    """
    boxes: dict[str, list[Box]] = {}
    with file.open(newline="", encoding="utf-8-sig") as lines:
        for number, row in enumerate(csv.DictReader(lines), start=2):
            try:
                boxes.setdefault(row["path"], []).append(_box(row))
            except (KeyError, ValueError, ZeroDivisionError, TypeError) as error:
                need = f"path and {', '.join(_SHARES)} or {', '.join(_PIXELS)}"
                raise ConfigError(f"boxes: {file}:{number}: {error!r}; a row has {need}") from None
    return boxes


def _box(row: Row) -> Box:
    if "left" in row:
        return Box(*(float(row[name]) for name in _SHARES))
    x0, y0, x1, y1, width, height = (float(row[name]) for name in _PIXELS)
    edges = (x0 / width, y0 / height, x1 / width, y1 / height)
    return Box(*(min(1.0, max(0.0, edge)) for edge in edges))  # detectors' boxes may reach a little beyond the edge


def box_text(box: Box) -> str:
    """The box as `labels.csv` has it: shares with four digits, which is finer than a pixel of the network's input."""
    return " ".join(f"{edge:.4f}" for edge in (box.left, box.top, box.right, box.bottom))
