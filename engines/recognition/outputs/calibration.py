"""Raw probabilities to calibrated top-k predictions, with the manifest's tables and without a loop over photos.

A table is the result of an isotonic regression. It is piecewise linear between its points and flat beyond its ends
(Zadrozny and Elkan, 2002, with linear interpolation between the pooled blocks).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.recognition.outputs.predictions import DIGITS, HeadPredictions
from schemas.manifest import Calibration, Head

_Table = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


class Calibrator:
    """One head's tables as arrays. Immutable, so that threads may share it."""

    def __init__(self, head: Head, top_k: int) -> None:
        self._head = head
        self._top_k = min(top_k, len(head.labels))
        self._common = None if head.calibration is None else _arrays(head.calibration)
        self._own = [
            (label.index, _arrays(head.class_calibration[label.id]))
            for label in head.labels
            if label.id in head.class_calibration
        ]
        self._thresholds = np.array([head.threshold_of(label.id) for label in head.labels])

    def calibrate(self, raw: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Calibrate every label's raw probability.

        A label's own table (`class_calibration`) is used if there is one, otherwise the head's, otherwise none.

        Args:
            raw: float32 [n, labels].

        Returns:
            float32 [n, labels], clipped to 0..1, because a float32 softmax may exceed 1 slightly.
        """
        calibrated = raw.astype(np.float64) if self._common is None else np.interp(raw, *self._common)
        for index, table in self._own:
            calibrated[:, index] = np.interp(raw[:, index], *table)
        return np.minimum(np.maximum(calibrated, 0.0), 1.0).astype(np.float32)

    def predict(self, raw: npt.NDArray[np.float32], applies: npt.NDArray[np.bool_] | None = None) -> HeadPredictions:
        """Return the `top_k` labels with the greatest calibrated probability, best first.

        Equal calibrated probabilities are ordered by the raw ones, then by label; a table has flat steps. Whether a
        label is offered depends on the four digits that the store keeps, so that the summary of one photo offers the
        same labels as the photo's row.

        Args:
            raw: float32 [n, labels].
            applies: bool [n], the photos to which the head applies; no other photo gets an offer. None means all.
        """
        calibrated = self.calibrate(raw)
        order = np.lexsort((-raw, -calibrated), axis=1)  # stable: if both are equal, the lower index comes first
        labels = order[:, : self._top_k]
        return self._offer(labels, np.take_along_axis(calibrated, labels, axis=1), applies)

    def predict_top(
        self,
        values: npt.NDArray[np.float32],
        indices: npt.NDArray[np.int32],
        applies: npt.NDArray[np.bool_] | None = None,
    ) -> HeadPredictions:
        """Predict from the best raw probabilities alone. `tops.is_cut` says when they are enough.

        Args:
            values: float32 [n, k], k at least `top_k`, best first.
            indices: int32 [n, k], the labels of `values`.
            applies: as for `predict`.

        Raises:
            ValueError: a label has a table of its own, so all labels are needed.
        """
        if self._own:
            raise ValueError(f"{self._head.id}: a label has its own table, so all labels are needed; use predict")
        calibrated = values.astype(np.float64) if self._common is None else np.interp(values, *self._common)
        order = np.lexsort((indices, -values), axis=1)[:, : self._top_k]  # calibration keeps their order
        best = np.clip(np.take_along_axis(calibrated, order, axis=1), 0.0, 1.0).astype(np.float32)
        return self._offer(np.take_along_axis(indices, order, axis=1), best, applies)

    def _offer(
        self,
        labels: npt.NDArray[np.integer],
        probabilities: npt.NDArray[np.float32],
        applies: npt.NDArray[np.bool_] | None,
    ) -> HeadPredictions:
        offered = np.round(probabilities.astype(np.float64), DIGITS) >= self._thresholds[labels]
        if applies is not None:
            offered &= applies[:, None]
        return HeadPredictions(labels.astype(np.int32), probabilities, offered)


def _arrays(table: Calibration) -> _Table:
    return np.array(table.x), np.array(table.y)
