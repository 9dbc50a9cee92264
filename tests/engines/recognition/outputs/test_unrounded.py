"""A photo against what is kept of others: by embedding, by margins and by hash."""

from __future__ import annotations

import numpy as np
import pytest

from engines.recognition import Unrounded, in_eight_bits, mean_of
from engines.recognition.outputs.hash_layer import HashLayer
from training.bundle.hash_layers import rotated_axes


def _fitted(photos: int = 4000) -> tuple[HashLayer, np.ndarray, np.ndarray]:
    """A rotation fitted to embeddings of 40 numbers that vary along 12 axes alone, the embeddings, and their mean."""
    rng = np.random.default_rng(5)
    axes, _ = np.linalg.qr(rng.normal(size=(40, 12)))
    mean = axes @ rng.normal(size=12)
    x = mean / np.linalg.norm(mean) + (rng.normal(size=(photos, 12)) * np.linspace(0.2, 1, 12)) @ axes.T
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x = x.astype(np.float32)
    return HashLayer(*rotated_axes(x, 256, 12)), x, x.mean(0)


def _cosine(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(ours @ theirs / np.sqrt((ours @ ours) * (theirs @ theirs)))


def test_margins_and_hash_give_the_cosine_around_the_mean_and_embeddings_their_own() -> None:
    """The rotation keeps all axes along which these embeddings vary, so margins differ by rounding alone."""
    layer, x, mean = _fitted()
    photo, others = Unrounded(x[0], layer), x[1:300]
    exact = [_cosine(x[0] - mean.astype(np.float64), one - mean.astype(np.float64)) for one in others]
    whole = [_cosine(x[0].astype(np.float64), one.astype(np.float64)) for one in others]
    margins = layer.margins(others)
    assert photo.to_embeddings(in_eight_bits(others)) == pytest.approx(whole, abs=0.01)
    assert photo.to_margins(in_eight_bits(margins)) == pytest.approx(exact, abs=0.01)
    assert photo.to_margins_of(in_eight_bits(others)) == pytest.approx(exact, abs=0.01)
    estimated = photo.to_hashes(np.packbits(margins > 0, axis=1)) - np.array(exact)
    assert abs(estimated.mean()) < 0.03
    assert estimated.std() < 0.1


def test_the_mean_of_photos_has_the_mean_of_their_margins() -> None:
    layer, x, _ = _fitted(600)
    mean = mean_of([Unrounded(one, layer) for one in x[:3]])
    assert mean.margins == pytest.approx(layer.margins(x[:3]).mean(0), abs=1e-5)
    with pytest.raises(ValueError, match="at least one"):
        mean_of([])
