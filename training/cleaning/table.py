"""The results of a cleaning as tables: labels.csv, which training takes, and marks.csv, which people read."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import msgspec

from engines.files import replacing
from training.cleaning.marks import Marks
from training.cleaning.source import Source
from training.cleaning.steps import PHOTOS
from training.readers.label_table import Row
from training.weak.label_files import SOURCE, refuse_foreign, write_table

LABELS, MARKS_TABLE = "labels.csv", "marks.csv"
MARK_COLUMNS = ("id", "step", "what", "photo", "product", "into", "group", "kept", "why", "undone")


def write_labels(source: Source, marks: Marks, out: Path, product: str) -> int:
    """Write `out/labels.csv` with the photos that no mark leaves out, with merged and corrected labels; returns its
    rows.

    It has the columns of the source. The splits are the source's, where it has none `train`. Paths begin with
    `photos/`. `source` says that this room wrote the table.

    Raises:
        ConfigError: `out/labels.csv` is somebody else's.
    """
    table = out / LABELS
    refuse_foreign(table)
    gone, into, relabelled = marks.left_out(), marks.products(), marks.relabelled()
    own = ["path", "split", product, SOURCE]
    others = [name for name in source.rows.columns() if name not in own]
    count = 0

    def rows() -> Iterator[Row]:
        nonlocal count
        for row in source.rows:
            if row["path"] in gone:
                continue
            label = row.get(product, "")
            count += 1
            yield {
                **row,
                "path": f"{PHOTOS}/{row['path']}",
                "split": row.get("split") or "train",
                product: relabelled.get(row["path"]) or into.get(label, label),
                SOURCE: row.get(SOURCE) or "cleaned",
            }

    write_table(table, [*own, *others], rows())
    return count


def write_marks(marks: Marks, file: Path) -> int:
    """Write every mark as a row, undone ones too, and return how many. `why` is JSON."""
    count = 0
    with replacing(file) as part, part.open("w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, MARK_COLUMNS)
        writer.writeheader()
        for mark, undone in marks.all():
            row = {name: getattr(mark, name) for name in MARK_COLUMNS if name not in ("why", "undone")}
            writer.writerow(row | {"why": msgspec.json.encode(mark.why).decode(), "undone": "yes" if undone else ""})
            count += 1
    return count
