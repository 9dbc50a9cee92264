"""A row of labels: what is in its columns. `path` is relative to the folder; `box` may name a part of the photo."""

from __future__ import annotations

from engines.pixels import Box
from schemas.errors import Invalid

Row = dict[str, str]


def is_catalogue(row: Row) -> bool:
    """Whether a row is a clean catalogue photo rather than one that somebody took."""
    return row.get("domain", "").lower() in ("iconic", "gallery") or row.get("split") == "gallery"


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
