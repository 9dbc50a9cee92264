"""`csv`: labels.csv beside the photos, `path` relative to it. The layout that every other one is turned into."""

from __future__ import annotations

from pathlib import Path

from training.readers.found_rows import Found
from training.readers.label_table import read_rows


def read_csv(folder: Path, validation: float) -> Found:
    """Rows as they stand: the table says itself which split a photo is of, so that nothing is set aside."""
    return Found(read_rows(folder))
