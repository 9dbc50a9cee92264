"""`evaluate`: heads, retrieval by float and by hash, calibration error, of one bundle on one folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from engines.recognition import build_engine
from schemas.errors import ConfigError
from schemas.manifest import Head, Manifest
from training.evaluation.folder import MISSING, Predicted, Progress, predict
from training.evaluation.scoring import Figures, Neighbours, Scored, by_bits, figures, neighbours, retrieval, score
from training.readers import read
from training.readers.label_table import Row, is_catalogue
from training.readers.query_words import QUERY_COLUMN, query_words


class Report(TypedDict):
    """What was measured, as `groknet evaluate --json` prints it."""

    photos: dict[str, int]
    heads: dict[str, Figures]
    queries: dict[str, Figures]
    retrieval: dict[str, dict[str, float]]
    bits: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Measured:
    """A report, and what it was made of: predictions, each head's beside the truth by column, neighbours."""

    report: Report
    predicted: Predicted
    scored: dict[str, Scored]
    neighbours: Neighbours | None


def evaluate(
    bundle: Path,
    data: Path,
    split: str = "test",
    *,
    columns: Mapping[str, str] | None = None,
    reader: str = "csv",
    backend: str = "onnxruntime",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """The report of `measure`, which says what its arguments are and what it raises.

    Returns:
        `photos`: `{"listed", "read", "missing", "unreadable"}`, rows of the split and of catalogue pictures; what is
        missing or unreadable is in no other figure.
        `heads`: column of labels.csv → `{"n", "top1", "top5", "macro", "ece", "ece_floor", "offered", "precision",
        "outside"}`, see `scoring.figures`. `outside` counts photos whose labels the head does not have: they are left
        out of its score. Where nothing is left, `n` is 0 and the figures are None.
        `queries`: the same for heads that learned from words of titles, which are no column; with `map`.
        `retrieval`: `float`, `hash` and `fine` (see `scoring.retrieval`) → `{"n", "recall_at_1", "recall_at_5",
        "recall_at_10", "map"}`, and `bits`: recall by the first so many bits of the hash. Both are empty without
        catalogue pictures and photos of their products.
    """
    found = measure(
        bundle, data, split, columns=columns, reader=reader, backend=backend, threads=threads, progress=progress
    )
    return found.report


def measure(
    bundle: Path,
    data: Path,
    split: str = "test",
    *,
    columns: Mapping[str, str] | None = None,
    reader: str = "csv",
    backend: str = "onnxruntime",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Measure a bundle on a folder of labelled photos.

    Args:
        bundle: the bundle's folder; it is verified before it is used.
        data: the folder; rows of `split` are scored (all rows where there is no split column).
        columns: column of labels.csv → head id, where the column's name is not the one that the head learned from.
            `-`, `_` and `.` count as equal in the id.
        reader: the folder's layout, a name of `training/readers`; `csv` is labels.csv beside the photos.
        progress: called with photos done and photos in all.

    Raises:
        BundleRefused, ConfigError: the bundle or the folder cannot be used; the message says what to do.
    """
    rows = select(read(reader, data).rows, split)
    engine = build_engine(bundle, backend=backend, threads=threads)
    mapping = head_columns(engine.manifest, rows, columns or {})
    predicted = predict(engine, data, rows, progress)
    engine.close()
    return measured(predicted, mapping)


def select(rows: Sequence[Row], split: str) -> list[Row]:
    """Photos of the split, and catalogue pictures but those of another held-out split, whose products are other ones;
    raises ConfigError when no photo is left."""
    foreign = {"val", "test"} - {split}
    kept = [
        row
        for row in rows
        if row.get("split", split) == split or (is_catalogue(row) and row.get("split") not in foreign)
    ]
    if all(is_catalogue(row) for row in kept):
        there = sorted({row.get("split", "") for row in rows})
        raise ConfigError(f"split: no photo has {split!r}; the data have {', '.join(there)}")
    return kept


def head_columns(manifest: Manifest, rows: Sequence[Row], columns: Mapping[str, str]) -> dict[str, Head]:
    """Column of labels.csv → the head that it scores. Raises ConfigError for an unknown column or head."""
    by_id = {_plain(head.id): head for head in manifest.heads}
    mapping: dict[str, Head] = {}
    for column, head_id in columns.items():
        if column not in rows[0]:
            raise ConfigError(f"column {column}: not in labels.csv; it has {', '.join(rows[0])}")
        if _plain(head_id) not in by_id:
            known = ", ".join(head.id for head in manifest.heads)
            raise ConfigError(f"column {column}: no head {head_id!r}; the bundle has {known}")
        mapping[column] = by_id[_plain(head_id)]
    for head in manifest.heads:
        words = head.column == QUERY_COLUMN and any(query_words(row) for row in rows)
        if head.column not in mapping and head not in mapping.values() and (words or head.column in rows[0]):
            mapping[head.column] = head
    return mapping


def _plain(head_id: str) -> str:
    return re.sub(r"[._-]", "_", head_id.lower())


def measured(predicted: Predicted, mapping: Mapping[str, Head]) -> Measured:
    """The figures of predictions that are there already; `mapping` as `head_columns` gives it."""
    scored = {column: score(predicted, column, head) for column, head in mapping.items()}
    values = {column: figures(one) for column, one in scored.items()}
    there = frozenset(predicted.rows[0])
    found = neighbours(predicted)
    missing = sum(reason == MISSING for _, reason in predicted.skipped)
    report: Report = {
        "photos": {
            "listed": len(predicted.rows) + len(predicted.skipped),
            "read": len(predicted.rows),
            "missing": missing,
            "unreadable": len(predicted.skipped) - missing,
        },
        "heads": {column: value for column, value in values.items() if column in there},
        "queries": {column: value for column, value in values.items() if column not in there},
        "retrieval": retrieval(found) if found else {},
        "bits": by_bits(predicted, found) if found else {},
    }
    return Measured(report, predicted, scored, found)
