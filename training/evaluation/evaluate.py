"""Measure one bundle on one folder: its heads, their calibration, and retrieval by embedding and by hash."""

from __future__ import annotations

import logging
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

log = logging.getLogger(__name__)
ALL = "all"
"""The name of all splits together: for a table without splits that nothing was trained on."""


class Report(TypedDict):
    """The figures, as `groknet evaluate --json` prints them; `evaluate` explains them."""

    photos: dict[str, int]
    heads: dict[str, Figures]
    queries: dict[str, Figures]
    retrieval: dict[str, dict[str, float]]
    bits: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Measured:
    """A report and what it was computed from.

    Attributes:
        report: the figures.
        predicted: predictions of all photos.
        scored: column → the head's predictions and the truth.
        neighbours: distances to the catalogue photos, if there are any.
    """

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
    """The report of `measure`; arguments and errors are the same.

    Returns:
        `photos`: `{"listed", "read", "missing", "unreadable"}`, counts over the split's photos and the catalogue
        photos. Missing and unreadable photos are in no other figure.
        `heads`: column of labels.csv → `{"n", "top1", "top5", "macro", "ece", "ece_floor", "offered", "precision",
        "outside"}`, see `scoring.figures`. `outside` counts photos whose labels the head does not know; they are not
        scored. If no photo is left, `n` is 0 and the figures are None.
        `queries`: the same, with `map`, for heads that learnt from words of titles, which are no column.
        `retrieval`: `float`, `hash`, `fine` and `rescored` (see `scoring.retrieval`) → `{"n", "recall_at_1",
        "recall_at_5", "recall_at_10", "map"}`. It is empty without catalogue photos and other photos of their products.
        `bits`: a number of bits → recall by that many first bits of the hash. It is empty when `retrieval` is.
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
        bundle: the bundle's folder; its files are verified first.
        data: the folder with the photos.
        split: rows of this split are scored.
        columns: column of labels.csv → head id, for columns that have another name than the head's own column. In the
            id, `-`, `_` and `.` count as equal.
        reader: the folder's layout, a name of `training/readers`; `csv` is labels.csv and the photos.
        backend: of the engine.
        threads: of the engine; None lets it choose.
        progress: called with the photos done and the photos in all.

    Raises:
        BundleRefused: the bundle cannot be used.
        ConfigError: the folder cannot be used; the message says what to do.
    """
    found = read(reader, data)
    for text in found.notes:
        log.warning("%s", text)
    rows = select(found.rows, split)
    engine = build_engine(bundle, backend=backend, threads=threads)
    mapping = head_columns(engine.manifest, rows, columns or {})
    predicted = predict(engine, data, rows, progress)
    engine.close()
    return measured(predicted, mapping)


def select(rows: Sequence[Row], split: str) -> list[Row]:
    """The split's photos and the catalogue photos. Those of the other held-out split show other products and are left
    out. The split `all` is every photo.

    Raises:
        ConfigError: no photo has this split.
    """
    if split == ALL:
        return list(rows)
    foreign = {"val", "test"} - {split}
    kept = [row for row in rows if row["split"] == split or (is_catalogue(row) and row["split"] not in foreign)]
    if all(is_catalogue(row) for row in kept):
        there = sorted({row["split"] for row in rows})
        raise ConfigError(f"split: no photo has {split!r}; use one of {', '.join(there)}, or {ALL}")
    return kept


def head_columns(manifest: Manifest, rows: Sequence[Row], columns: Mapping[str, str]) -> dict[str, Head]:
    """Column of labels.csv → the head that is scored with it. `columns` is as in `measure`.

    Raises:
        ConfigError: an unknown column or head.
    """
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
    """The figures of existing predictions; `mapping` is that of `head_columns`."""
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
