"""Heads that cannot offer anything because too few validation photos have their labels: one sentence for each.

`groknet data check`, `train`, `export`, the card and the HTML report say it, so that silence has a reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from schemas.manifest import Head, Manifest
from training.bundle.thresholds import least_photos
from training.readers.label_table import Row, is_catalogue
from training.readers.query_words import QUERY_COLUMN, query_words

LEAST_PHOTOS = 50  # of validation: with fewer, a table and a threshold are no better than a guess


def needed(precision: float) -> int:
    """Validation photos from which on a head may offer something."""
    return max(LEAST_PHOTOS, least_photos(precision))


def sentence(head: str, photos: int, precision: float) -> str:
    """Why a head offers nothing, or "" if it has enough validation photos."""
    missing = needed(precision) - photos
    if missing <= 0:
        return ""
    return (
        f"{head}: nothing will be offered, because {photos} validation photos have its labels; "
        f"{missing} more are missing for precision {precision:g}"
    )


def labelled(rows: Iterable[Row], column: str) -> int:
    """How many validation photos have a value in the column."""
    return sum(
        row.get("split") == "val"
        and not is_catalogue(row)
        and bool(query_words(row) if column == QUERY_COLUMN and column not in row else row.get(column))
        for row in rows
    )


def silences(
    manifest: Manifest, rows: Mapping[str, Sequence[Row]], seen: Mapping[str, Sequence[Row]] | None = None
) -> list[str]:
    """The sentences of a bundle's heads. `seen` replaces the rows of a data set by those that were looked at."""
    used = {**rows, **(seen or {})}
    return [text for head in manifest.heads if head.datasets and (text := _of_head(head, used))]


def _of_head(head: Head, rows: Mapping[str, Sequence[Row]]) -> str:
    photos = sum(labelled(rows.get(name, ()), head.column) for name in head.datasets)
    return sentence(head.id, photos, head.target_precision)
