"""`related.csv`: photos of a generic set that show something like the products of a recipe, such as a sandal.

A label of a product's head on such a photo may be right, so nobody can call it nonsense. The table stands next to
labels.csv. A photo is related if some line of the table has its values in every column that both files have.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from training.readers.label_table import Row

RELATED_FILE = "related.csv"


def without_related(folder: Path, rows: Sequence[Row]) -> list[Row]:
    """The rows that `folder/related.csv` does not name; all of them if there is no such file."""
    file = folder / RELATED_FILE
    if not file.is_file() or not rows:
        return list(rows)
    with file.open(newline="", encoding="utf-8-sig") as text:
        table = list(csv.DictReader(text))
    columns = [name for name in (table[0] if table else {}) if name in rows[0]]
    if not columns:
        return list(rows)
    named = {tuple(line[name] for name in columns) for line in table}
    return [row for row in rows if tuple(row[name] for name in columns) not in named]
