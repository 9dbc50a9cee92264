"""`evaluate`: heads, retrieval by float and by hash, calibration error, of one bundle on one folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.recognition import HeadPredictions, build_engine
from schemas.errors import ConfigError
from schemas.manifest import Head, Manifest
from training.evaluation import metrics
from training.evaluation.folder import Predicted, Progress, predict
from training.queries import QUERY_COLUMN, query_words
from training.table import Row, is_catalogue, multiple, read_rows

Report = dict[str, dict[str, dict[str, float]]]


@dataclass(frozen=True)
class Scored:
    """A head's predictions beside the truth, for the rows whose label the head has. `positives` for multi-label."""

    head: Head
    predictions: HeadPredictions
    targets: NDArray[np.int64]
    positives: NDArray[np.bool_] | None
    outside: int

    @property
    def correct(self) -> NDArray[np.bool_]:
        """bool [n, k]: whether each of the k predictions is right."""
        labels = self.predictions.labels.astype(np.int64)
        if self.positives is not None:
            right: NDArray[np.bool_] = np.take_along_axis(self.positives, labels, axis=1)
        else:
            right = labels == self.targets[:, None]
        return right


def evaluate(
    bundle: Path,
    data: Path,
    split: str = "test",
    *,
    columns: Mapping[str, str] | None = None,
    backend: str = "onnxruntime",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Measure a bundle on `data/labels.csv`.

    Args:
        bundle: the bundle's folder; it is verified before it is used.
        data: a folder with labels.csv; rows of `split` are scored (all rows where there is no split column).
        columns: column of labels.csv → head id, where the column's name is not the one that the head learned from.
            `-`, `_` and `.` count as equal in the id.
        progress: called with photos done and photos in all.

    Returns:
        `{"heads": {column: {"n", "top1", "top5", "macro", "ece", "outside"}}, "retrieval": {"float" | "hash":
        {"n", "recall_at_1", "recall_at_5", "recall_at_10"}}}`. `outside` counts labels that the head does not have:
        they are left out of its score. A head without one scorable row, and retrieval without both catalogue
        pictures and photos of their products, are absent.

    Raises:
        BundleRefused, ConfigError: the bundle or the folder cannot be used; the message says what to do.
    """
    rows = select(read_rows(data), split)
    engine = build_engine(bundle, backend=backend, threads=threads)
    mapping = head_columns(engine.manifest, rows, columns or {})
    predicted = predict(engine, data, rows, progress)
    engine.close()
    return report(predicted, mapping)


def select(rows: Sequence[Row], split: str) -> list[Row]:
    """Photos of the split and every catalogue picture; raises ConfigError when no photo is left."""
    kept = [row for row in rows if is_catalogue(row) or row.get("split", split) == split]
    if all(is_catalogue(row) for row in kept):
        there = sorted({row.get("split", "") for row in rows})
        raise ConfigError(f"split: no photo has {split!r}; labels.csv has {', '.join(there)}")
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


def report(predicted: Predicted, mapping: Mapping[str, Head]) -> Report:
    """The figures of predictions that are there already."""
    heads = {}
    for column, head in mapping.items():
        scored = score(predicted, column, head)
        if len(scored.targets):
            heads[column] = figures(scored)
    return {"heads": heads, "retrieval": retrieval(predicted)}


def score(predicted: Predicted, column: str, head: Head) -> Scored:
    """Predictions and truth of one head for the natural photos."""
    place = {label.value: label.index for label in head.labels}
    photos = [i for i, row in enumerate(predicted.rows) if not is_catalogue(row)]
    truth = [_truth(predicted.rows[i], column, head) for i in photos]
    known = [[place[v] for v in values if v in place] for values in truth]
    kept = [n for n, labels in enumerate(known) if labels]
    outside = sum(1 for values, labels in zip(truth, known, strict=True) if values and not labels)
    at = np.array([photos[n] for n in kept], np.int64)
    mine = predicted.predictions.heads[head.id]
    positives = None
    if head.kind == "multi_label":
        positives = np.zeros((len(kept), len(head.labels)), np.bool_)
        for row, n in enumerate(kept):
            positives[row, known[n]] = True
    targets = np.array([known[n][0] for n in kept], np.int64)
    chosen = HeadPredictions(mine.labels[at], mine.probabilities[at], mine.offered[at])
    return Scored(head, chosen, targets, positives, outside)


def _truth(row: Row, column: str, head: Head) -> list[str]:
    if head.column == QUERY_COLUMN and column not in row:
        return sorted(query_words(row))
    value = row.get(column) or ""
    return multiple(value) if head.kind == "multi_label" else [value] if value else []


def figures(scored: Scored) -> dict[str, float]:
    """top1, top5, macro and ece of one head."""
    labels = scored.predictions.labels
    if scored.positives is not None:
        values = metrics.accuracy_of_sets(labels, scored.positives)
    else:
        values = metrics.accuracy(labels, scored.targets)
    error = metrics.ece(scored.predictions.probabilities[:, 0], scored.correct[:, 0])
    return {"n": len(scored.targets), **values, "ece": error, "outside": scored.outside}


def retrieval(predicted: Predicted, identity: str = "product") -> dict[str, dict[str, float]]:
    """Photo → catalogue picture, for photos whose product has one; empty where there are none."""
    ids: dict[str, int] = {}
    numbers = np.array([ids.setdefault(row.get(identity, ""), len(ids)) for row in predicted.rows], np.int64)
    catalogue = np.array([is_catalogue(row) and bool(row.get(identity)) for row in predicted.rows], np.bool_)
    photos = ~np.array([is_catalogue(row) for row in predicted.rows]) & np.isin(numbers, numbers[catalogue])
    if not photos.any():
        return {}
    codes, vectors = predicted.predictions.hash, predicted.predictions.embedding
    distances = {
        "float": metrics.cosine_distance(vectors[photos], vectors[catalogue]),
        "hash": metrics.hamming(codes[photos], codes[catalogue]),
    }
    count = {"n": int(photos.sum())}
    return {
        name: {**count, **metrics.recall(distance, numbers[photos], numbers[catalogue])}
        for name, distance in distances.items()
    }
