"""Calibration against a naive twin that goes label by label with plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from engines.recognition import Calibrator
from schemas.manifest import Calibration, Head, Label


def head(n: int, **fields: object) -> Head:
    labels = [Label(id=f"l{i}", index=i, value=f"l{i}") for i in range(n)]
    return Head(id="h", kind="softmax", column="c", datasets=["d"], output="h", labels=labels, **fields)


def naive(value: float, table: Calibration | None) -> float:
    """The piecewise-linear function by its definition."""
    if table is None:
        return value
    if value <= table.x[0]:
        return table.y[0]
    for x0, x1, y0, y1 in zip(table.x, table.x[1:], table.y, table.y[1:], strict=False):
        if x0 <= value <= x1:
            return y0 + (y1 - y0) * (value - x0) / (x1 - x0)
    return table.y[-1]


def table(rng: np.random.Generator, points: int) -> Calibration:
    """Strictly rising x, y with flat steps as isotonic regression makes them."""
    x = np.sort(rng.choice(1000, points, replace=False)) / 1000
    return Calibration(x=x.tolist(), y=np.sort(rng.integers(0, 6, points) / 5).tolist())


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_naive_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(2, 30)), int(rng.integers(1, 8))
    own = {f"l{i}": table(rng, 4) for i in range(n) if rng.random() < 0.3}
    common = table(rng, int(rng.integers(1, 9))) if seed % 3 else None
    threshold = float(rng.choice([0.0, 0.4, 0.6, 1.0]))
    heads = head(n, calibration=common, class_calibration=own, threshold=threshold)
    raw = rng.random((40, n)).astype(np.float32)
    raw[3] = raw[3, 0]  # all labels equal
    got = Calibrator(heads, k).predict(raw)
    for i, row in enumerate(raw.tolist()):
        calibrated = [naive(value, own.get(f"l{j}", common)) for j, value in enumerate(row)]
        rounded = [float(np.float32(value)) for value in calibrated]
        order = sorted(range(n), key=lambda j: (-rounded[j], -row[j], j))[:k]
        assert got.labels[i].tolist() == order
        np.testing.assert_allclose(got.probabilities[i], [calibrated[j] for j in order], atol=1e-6)
        assert got.offered[i].tolist() == [round(rounded[j], 4) >= threshold for j in order]


def test_dtypes_and_shapes_and_fewer_labels_than_asked() -> None:
    got = Calibrator(head(2), 5).predict(np.array([[0.2, 0.8]], np.float32))
    assert (got.labels.dtype, got.probabilities.dtype, got.offered.dtype) == (np.int32, np.float32, np.bool_)
    assert got.labels.tolist() == [[1, 0]]
    np.testing.assert_array_equal(got.probabilities, np.array([[0.8, 0.2]], np.float32))


def test_a_table_of_one_point_is_flat() -> None:
    calibrated = Calibrator(head(2, calibration=Calibration(x=[0.5], y=[0.25])), 2).calibrate(
        np.array([[0.0, 1.0]], np.float32)
    )
    assert calibrated.tolist() == [[0.25, 0.25]]


def test_float32_overshoot_stays_a_probability() -> None:
    """A softmax in float32 may give 1.0000001, which the store would refuse."""
    assert Calibrator(head(2), 2).calibrate(np.array([[1.0000001, -1e-9]], np.float32)).tolist() == [[1.0, 0.0]]
