"""The nearest of embeddings against a loop over all of them."""

from __future__ import annotations

import numpy as np
import pytest

from training.weak.embeddings import nearest


def test_nearest_is_the_nearest() -> None:
    rng = np.random.default_rng(0)
    every = rng.normal(size=(16, 5))
    queries, gallery = np.split(every / np.linalg.norm(every, axis=1, keepdims=True), [9])
    places, distances = nearest(queries.astype(np.float32), gallery.astype(np.float32))
    for query, place, distance in zip(queries, places, distances, strict=True):
        each = [float(((query - other) ** 2).sum()) for other in gallery]
        assert place == each.index(min(each))
        assert distance == pytest.approx(min(each), abs=1e-5)
    places, distances = nearest(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)[[0, 0, 2]])
    assert places.tolist() == [0, 0, 2]
    assert distances.tolist() == [0, 2, 0]
