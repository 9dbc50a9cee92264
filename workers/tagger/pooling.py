"""Engine output → rows, and rows → the summary of a listing."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from engines.recognition import Predictions as EngineOutput
from schemas.manifest import Manifest
from schemas.predictions import ImageRow, Prediction, Predictions

_DIGITS = 4  # a calibrated probability is not known better than to 1e-4


def _prediction(label: str, probability: float, threshold: float) -> Prediction:
    value = min(1.0, max(0.0, round(float(probability), _DIGITS)))
    return Prediction(label=label, probability=value, offered=value >= threshold)


def image_rows(manifest: Manifest, image_ids: Sequence[str], output: EngineOutput) -> list[ImageRow]:
    """One row a photo of a batch; `image_ids` in the order of the batch."""
    columns = []
    for head in manifest.heads:
        found = output.heads[head.id]
        columns.append((head, found.labels.tolist(), found.probabilities.tolist()))
    rows = []
    for i, image_id in enumerate(image_ids):
        predictions: Predictions = {
            head.id: [
                _prediction(head.labels[label].id, p, head.threshold)
                for label, p in zip(labels[i], probabilities[i], strict=True)
            ]
            for head, labels, probabilities in columns
        }
        rows.append(ImageRow(image_id=image_id, predictions=predictions, hash=output.hash[i].tobytes().hex()))
    return rows


def pool(manifest: Manifest, rows: Sequence[ImageRow]) -> Predictions:
    """The summary's predictions: the mean over photos of each label's calibrated probability, absent = 0.

    Exactly rounded sums make the result independent of the order of the photos. No photo, no predictions.
    """
    if not rows:
        return {}
    summary: Predictions = {}
    for head in manifest.heads:
        terms: dict[str, list[float]] = defaultdict(list)
        for row in rows:
            for prediction in row.predictions.get(head.id, ()):
                terms[prediction.label].append(prediction.probability)
        means = {label: math.fsum(values) / len(rows) for label, values in terms.items()}
        best = sorted(means.items(), key=lambda item: (-item[1], item[0]))[: manifest.top_k]
        summary[head.id] = [_prediction(label, p, head.threshold) for label, p in best]
    return summary
