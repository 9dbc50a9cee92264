"""Turns the engine's output into rows, and the rows of a listing into its summary.

A photo counts once in the summary, by its first row. A listing sells what its photos show first; what else stands on a
table has a row and a hash of its own, and must not change the listing's predictions.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import repeat

from msgspec import structs

from engines.recognition import Predictions as EngineOutput
from schemas.boxes import BoxShares
from schemas.manifest import Head, Manifest
from schemas.predictions import ImageRow, Prediction, Predictions

_DIGITS = 4  # as the rows


def image_rows(
    manifest: Manifest,
    image_ids: Sequence[str],
    output: EngineOutput,
    boxes: Sequence[BoxShares | None] = (),
    *,
    keep_embedding: bool = False,
) -> list[ImageRow]:
    """One row for each photo of a batch. `image_ids` and `boxes` are in the order of the batch; without `boxes` all are
    whole photos. With `keep_embedding` the rows have their embeddings, if the bundle knows its hash layer."""
    embeddings = output.kept_embeddings() if keep_embedding else repeat(None)
    columns = (image_ids, output.rows(manifest), output.applies(manifest), boxes or repeat(None), embeddings)
    return [
        ImageRow(
            image_id=image_id,
            predictions=predictions,
            hash=output.hash_hex(i),
            applies=applies,
            box=box,
            embedding=kept,
        )
        for i, (image_id, predictions, applies, box, kept) in enumerate(zip(*columns, strict=False))
    ]


def subjects(rows: Sequence[ImageRow]) -> list[ImageRow]:
    """The first row of each photo: its most confident box, or the whole photo. Only these make the summary."""
    return list({row.image_id: row for row in reversed(rows)}.values())[::-1]


def pool_applies(manifest: Manifest, rows: Sequence[ImageRow]) -> list[str] | None:
    """The heads that apply to a listing: those that apply to at least half of its good photos, in the manifest's order.

    None if a photo's row does not say it, or without a photo.
    """
    if not rows or any(row.applies is None for row in rows):
        return None
    if len(rows) == 1:
        return rows[0].applies
    counts = Counter(head for row in rows for head in row.applies or ())
    return [head.id for head in manifest.heads if 2 * counts[head.id] >= len(rows)]


def pool(manifest: Manifest, rows: Sequence[ImageRow]) -> Predictions:
    """The predictions of the summary: for each label the mean of its calibrated probability (0 to 1) over all photos.

    A photo without the label counts as 0. A label is offered if the mean reaches its threshold and its head applies to
    the listing (`pool_applies`). Sums are rounded exactly, so the order of the photos does not matter. A listing
    without a photo has no predictions.
    """
    if not rows:
        return {}
    applies = pool_applies(manifest, rows)
    if len(rows) == 1:
        return _own(manifest, rows[0], applies)
    summary: Predictions = {}
    for head in manifest.heads:
        silent = applies is not None and head.id not in applies
        terms: dict[str, list[float]] = defaultdict(list)
        for row in rows:
            for prediction in row.predictions.get(head.id, ()):
                terms[prediction.label].append(prediction.probability)
        means = {label: math.fsum(values) / len(rows) for label, values in terms.items()}
        best = sorted(means.items(), key=lambda item: (-item[1], item[0]))[: manifest.top_k]
        summary[head.id] = [
            Prediction(label=label, probability=round(p, _DIGITS), offered=not silent and p >= head.threshold_of(label))
            for label, p in best
        ]
    return summary


def _own(manifest: Manifest, row: ImageRow, applies: list[str] | None) -> Predictions:
    """The summary of a listing with one photo, which is its row. Most listings have one photo, and the general way
    takes four times as long."""
    if _is_summary(manifest, row, applies):
        return row.predictions
    return {
        head.id: [
            structs.replace(p, offered=_offers(head, p, applies))
            for p in row.predictions.get(head.id, ())[: manifest.top_k]
        ]
        for head in manifest.heads
    }


def _is_summary(manifest: Manifest, row: ImageRow, applies: list[str] | None) -> bool:
    """Whether the row equals its summary. Only a probability between a threshold and its rounded value makes a
    difference."""
    if len(row.predictions) != len(manifest.heads):
        return False
    for head in manifest.heads:
        best = row.predictions.get(head.id)
        if best is None or len(best) > manifest.top_k:
            return False
        for p in best:
            if p.offered != _offers(head, p, applies):
                return False
    return True


def _offers(head: Head, prediction: Prediction, applies: list[str] | None) -> bool:
    return prediction.probability >= head.threshold_of(prediction.label) and (applies is None or head.id in applies)
