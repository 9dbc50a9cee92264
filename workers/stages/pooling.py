"""Turns the engine's output into rows, and the rows of a listing into its summary."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from msgspec import structs

from engines.recognition import Predictions as EngineOutput
from schemas.manifest import Manifest
from schemas.predictions import ImageRow, Prediction, Predictions

_DIGITS = 4  # as the rows


def image_rows(manifest: Manifest, image_ids: Sequence[str], output: EngineOutput) -> list[ImageRow]:
    """One row for each photo of a batch. `image_ids` are in the order of the batch."""
    return [
        ImageRow(image_id=image_id, predictions=predictions, hash=output.hash_hex(i))
        for i, (image_id, predictions) in enumerate(zip(image_ids, output.rows(manifest), strict=True))
    ]


def pool(manifest: Manifest, rows: Sequence[ImageRow]) -> Predictions:
    """The predictions of the summary: for each label the mean of its calibrated probability (0 to 1) over all photos.

    A photo without the label counts as 0. Sums are rounded exactly, so the order of the photos does not matter. A
    listing without a photo has no predictions.
    """
    if not rows:
        return {}
    if len(rows) == 1:
        return _own(manifest, rows[0])
    summary: Predictions = {}
    for head in manifest.heads:
        terms: dict[str, list[float]] = defaultdict(list)
        for row in rows:
            for prediction in row.predictions.get(head.id, ()):
                terms[prediction.label].append(prediction.probability)
        means = {label: math.fsum(values) / len(rows) for label, values in terms.items()}
        best = sorted(means.items(), key=lambda item: (-item[1], item[0]))[: manifest.top_k]
        summary[head.id] = [
            Prediction(label=label, probability=round(p, _DIGITS), offered=p >= head.threshold) for label, p in best
        ]
    return summary


def _own(manifest: Manifest, row: ImageRow) -> Predictions:
    """The summary of a listing with one photo, which is its row. Most listings have one photo, and the general way
    takes four times as long."""
    if _is_summary(manifest, row):
        return row.predictions
    return {
        head.id: [
            p if p.offered == (p.probability >= head.threshold) else structs.replace(p, offered=not p.offered)
            for p in row.predictions.get(head.id, ())[: manifest.top_k]
        ]
        for head in manifest.heads
    }


def _is_summary(manifest: Manifest, row: ImageRow) -> bool:
    """Whether the row equals its summary. Only a probability between a threshold and its rounded value makes a
    difference."""
    if len(row.predictions) != len(manifest.heads):
        return False
    for head in manifest.heads:
        best, threshold = row.predictions.get(head.id), head.threshold
        if best is None or len(best) > manifest.top_k:
            return False
        for p in best:
            if p.offered != (p.probability >= threshold):
                return False
    return True
