"""labels.csv: one row for each photo of a folder. `path` is relative to the folder; `box` may name a part of it."""

from __future__ import annotations

import csv
from pathlib import Path

from engines.pixels import Box
from schemas.errors import ConfigError, Invalid

Row = dict[str, str]


def read_rows(folder: Path) -> list[Row]:
    """The rows of `folder/labels.csv`.

    Raises:
        ConfigError: it does not exist, is not UTF-8, or has no `path` column or no row.
    """
    file = Path(folder) / "labels.csv"
    if not file.is_file():
        raise ConfigError(f"data: there is no {file}; a data folder has a labels.csv with a `path` column")
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:  # spreadsheets write a byte-order mark
            rows = list(csv.DictReader(text))
    except UnicodeDecodeError as error:
        raise ConfigError(f"data: {file} is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    if not rows or "path" not in rows[0]:
        raise ConfigError(f"data: {file} needs a `path` column and at least one row")
    return rows


def is_catalogue(row: Row) -> bool:
    """Whether a row is a clean catalogue photo rather than one that somebody took."""
    return row.get("domain") in ("iconic", "gallery") or row.get("split") == "gallery"


def box_of(row: Row) -> Box | None:
    """The column `box`: left, top, right, bottom as shares of the upright photo, separated by blanks. None means the
    whole photo.

    Raises:
        Invalid: it is something else (stage `decode`, error `bad_box`).
    """
    text = row.get("box", "").split()
    if not text:
        return None
    try:
        left, top, right, bottom = map(float, text)
        return Box(left=left, top=top, right=right, bottom=bottom)
    except ValueError as error:
        raise Invalid("decode", "bad_box", f"box {row['box']!r}: {error}; give four shares from 0 to 1") from None


def multiple(value: str) -> list[str]:
    """The labels in a cell of a multi-label column: `red|round` has two."""
    return [label for label in value.split("|") if label]
