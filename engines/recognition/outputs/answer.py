"""From a graph's raw outputs to predictions: applicability, calibration, thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from engines.recognition.outputs.calibration import Calibrator
from engines.recognition.outputs.hash_layer import HashLayer
from engines.recognition.outputs.predictions import HeadPredictions, Predictions, heads_apply
from engines.recognition.outputs.tops import INDICES, VALUES
from schemas.errors import Invalid
from schemas.manifest import Head, Manifest

Outputs = Mapping[str, npt.NDArray[np.generic]]
Calibrators = Sequence[tuple[Head, Calibrator]]


def calibrators(manifest: Manifest) -> Calibrators:
    """Return every head with its tables."""
    return [(head, Calibrator(head, manifest.top_k)) for head in manifest.heads]


def answer(manifest: Manifest, heads: Calibrators, layer: HashLayer | None, outputs: Outputs) -> Predictions:
    """Return the predictions of a batch.

    Args:
        manifest: names the outputs.
        heads: as `calibrators` makes them.
        layer: the hash layer, if it is known.
        outputs: raw, by name, one row for each photo, as `Backend.run` returns them.

    Raises:
        Invalid: stage `engine`, error `non_finite`: one photo of the batch gave not-a-number.
    """
    embedding = outputs[manifest.embedding.output].astype(np.float32, copy=False)
    finite = bool(np.isfinite(embedding).all())
    applicability = _applicability(manifest, outputs)
    found = {}
    for head, calibrator in heads:
        applies = heads_apply(manifest, head, applicability)
        found[head.id], raw = _predict(calibrator, head.output, outputs, applies)
        finite = finite and bool(np.isfinite(raw).all())
    if not finite:
        raise Invalid("engine", "non_finite", "the network gave not-a-number for a photo; leave that photo out")
    codes = outputs[manifest.hash.output].astype(np.uint8, copy=False)
    return Predictions(found, embedding, codes, layer, applicability or None)


def _applicability(manifest: Manifest, outputs: Outputs) -> dict[str, npt.NDArray[np.float32]]:
    """Return p(applies) by domain id, float32 [n] each; empty if the bundle has no applicability."""
    if manifest.applicability is None:
        return {}
    columns = outputs[manifest.applicability.output].astype(np.float32, copy=False)
    return {domain.id: columns[:, i] for i, domain in enumerate(manifest.applicability.domains)}


def _predict(
    calibrator: Calibrator, name: str, outputs: Outputs, applies: npt.NDArray[np.bool_] | None
) -> tuple[HeadPredictions, npt.NDArray[np.float32]]:
    """Return a head's predictions, and the raw probabilities behind them."""
    if name in outputs:
        raw = outputs[name].astype(np.float32, copy=False)
        return calibrator.predict(raw, applies), raw
    values = outputs[name + VALUES].astype(np.float32, copy=False)
    return calibrator.predict_top(values, outputs[name + INDICES].astype(np.int32, copy=False), applies), values
