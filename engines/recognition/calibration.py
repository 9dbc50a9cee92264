"""Raw probabilities to calibrated top-k predictions, by the manifest's tables, without a loop over photos.

A table is isotonic regression's result: piecewise linear between its points, flat beyond its ends (Zadrozny and Elkan,
2002, with linear interpolation between the pooled blocks).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.recognition.predictions import DIGITS, HeadPredictions
from schemas.manifest import Head


def calibrate(raw: npt.NDArray[np.float32], head: Head) -> npt.NDArray[np.float32]:
    """Calibrate every label's raw probability.

    Args:
        raw: float32 [n, labels].
        head: its `class_calibration` table is used where a label has one, else its `calibration`, else nothing.

    Returns:
        float32 [n, labels], within 0..1.
    """
    calibrated = raw.astype(np.float64)
    if head.calibration is not None:
        calibrated = np.interp(calibrated, head.calibration.x, head.calibration.y)
    for label in head.labels:
        table = head.class_calibration.get(label.id)
        if table is not None:
            calibrated[:, label.index] = np.interp(raw[:, label.index], table.x, table.y)
    return np.clip(calibrated, 0.0, 1.0).astype(np.float32)


def calibrate_head(raw: npt.NDArray[np.float32], head: Head, top_k: int) -> HeadPredictions:
    """The `top_k` labels of the greatest calibrated probability, best first.

    Equal calibrated probabilities (a table has flat steps) keep the order of the raw ones, then of the labels.
    Whether a label is offered is decided on the four digits that the store keeps, so that a summary over one photo
    offers what the photo's row does.

    Args:
        raw: float32 [n, labels]; labels may be fewer than `top_k`.
        head: the manifest's head.
        top_k: how many labels to keep.
    """
    calibrated = calibrate(raw, head)
    by_raw = np.argsort(-raw, axis=1, kind="stable")
    by_calibrated = np.argsort(-np.take_along_axis(calibrated, by_raw, axis=1), axis=1, kind="stable")
    labels = np.take_along_axis(by_raw, by_calibrated[:, :top_k], axis=1)
    probabilities = np.take_along_axis(calibrated, labels, axis=1)
    offered = np.round(probabilities.astype(np.float64), DIGITS) >= head.threshold
    return HeadPredictions(labels.astype(np.int32), probabilities, offered)
