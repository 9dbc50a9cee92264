"""The spreading layer starts at ITQ, spreads its codes, and keeps more neighbours of rows that it was not fitted to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training import losses
from training.bundle.hash_layers import Floats, bit_statistics, itq, pack
from training.bundle.spreading_layer import FAR, NEAR, fit_spreading_layer, neighbours
from training.evaluation.metrics import cosine_distance, hamming

torch.set_num_threads(1)


def manifold(n: int, seed: int) -> Floats:
    """Unit rows on a curved 4-d sheet in 24 dimensions: neighbours are smooth, and no rotation flattens it."""
    rng = np.random.default_rng(7)
    frequency, phase = rng.normal(size=(4, 24)), rng.uniform(0, 6, 24)
    at = np.random.default_rng(seed).uniform(-1, 1, (n, 4))
    x = np.sin(at @ frequency + phase)
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def kept(codes: np.ndarray, rows: Floats) -> float:
    """Share of the 10 nearest others by cosine that are among the 10 nearest by hash."""
    true, found = cosine_distance(rows, rows), hamming(codes, codes).astype(np.float64)
    np.fill_diagonal(true, 9)
    np.fill_diagonal(found, 999)
    near, ours = np.argsort(true, 1)[:, :10], np.argsort(found, 1, kind="stable")[:, :10]
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(near, ours, strict=True)]))


def test_neighbours_are_those_of_a_full_sort() -> None:
    rows = manifold(80, 1)
    near, far = neighbours(rows)
    cosine = rows @ rows.T
    np.fill_diagonal(cosine, -2)
    for i, order in enumerate(np.argsort(-cosine, 1)):
        assert set(near[i]) == set(order[:NEAR])
        assert far[i] == order[FAR - 1]


def test_it_starts_at_itq() -> None:
    rows = manifold(200, 2)
    weight, bias = itq(rows, 16)
    with torch.inference_mode():
        start = fit_spreading_layer(rows, 16, steps=0)(torch.from_numpy(rows)).numpy()
    assert start == pytest.approx(rows @ weight.T + bias, abs=1e-5)


@pytest.mark.slow
def test_it_keeps_more_neighbours_of_rows_it_never_saw() -> None:
    seen, unseen = manifold(600, 3), manifold(300, 4)
    weight, bias = itq(seen, 16)
    layer = fit_spreading_layer(seen, 16, batch=128)
    with torch.inference_mode():
        ours, before = layer(torch.from_numpy(unseen)), torch.from_numpy(unseen @ weight.T + bias)
        spread = [float(losses.spreading(losses.soft_bits(x))) for x in (ours, before)]
    assert spread[0] < spread[1] - 0.1
    codes, linear = pack(ours.numpy()), pack(before.numpy())
    assert kept(codes, unseen) > kept(linear, unseen)
    assert bit_statistics(codes)["correlation"] < bit_statistics(linear)["correlation"]


def test_the_seed_alone_decides() -> None:
    rows = manifold(120, 5)
    torch.manual_seed(1)
    first = fit_spreading_layer(rows, 8, steps=3, seed=4).state_dict()
    torch.manual_seed(2)
    again = fit_spreading_layer(rows, 8, steps=3, seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = fit_spreading_layer(rows, 8, steps=3, seed=5).state_dict()
    assert not torch.equal(first["hidden.weight"], other["hidden.weight"])
