"""Hash layers against algebra, and statistics of bits by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.bundle.hash_layers import bit_statistics, half_whitened_axes, half_whitened_itq, itq, pack, rotated_axes
from training.evaluation.metrics import hamming

torch.set_num_threads(1)


def test_itq_turns_and_brings_nearer_to_signs() -> None:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((500, 24)).astype(np.float32) @ rng.standard_normal((24, 24)).astype(np.float32)
    weight, bias = itq(x, 16)
    assert weight @ weight.T == pytest.approx(np.eye(16), abs=1e-4)
    turned = x @ weight.T + bias
    assert turned.mean(0) == pytest.approx(np.zeros(16), abs=1e-2)
    plain_weight, plain_bias = itq(x, 16, iterations=0)
    plain = x @ plain_weight.T + plain_bias

    def loss(values: np.ndarray) -> float:
        return float(np.square(np.sign(values) - values).mean())

    assert loss(turned) < loss(plain)


def test_half_whitening_makes_axes_more_alike_and_keeps_their_order() -> None:
    rng = np.random.default_rng(4)
    spread = np.linspace(4, 0.25, 24)
    x = (rng.standard_normal((4000, 24)) * spread + 1).astype(np.float32)
    axes, mean = half_whitened_axes(x, 16)
    found = ((x - mean) @ axes).std(0)[::-1]
    assert found == pytest.approx(np.sqrt(spread[:16]), rel=0.05), "each axis is divided by the root of its spread"
    whole = ((x - mean) @ half_whitened_axes(x, 16, power=1.0)[0]).std(0)
    assert whole == pytest.approx(np.ones(16), rel=0.05)


def test_half_whitened_itq_codes_are_those_of_its_own_steps_in_order() -> None:
    rng = np.random.default_rng(5)
    x = (rng.standard_normal((300, 24)) * np.linspace(4, 0.25, 24)).astype(np.float32)
    weight, bias = half_whitened_itq(x, 16)
    axes, mean = half_whitened_axes(x, 16)
    rows = (x - mean) @ axes
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    turn = np.linalg.lstsq(axes, weight.T.astype(np.float64), rcond=None)[0]
    assert turn @ turn.T == pytest.approx(np.eye(16), abs=1e-3), "a rotation of the half-whitened axes"
    assert (np.sign(rows @ turn) == np.sign(x @ weight.T + bias)).mean() > 0.999, "unit rows have the same signs"
    start = np.linalg.qr(np.random.default_rng(0).standard_normal((16, 16)))[0]

    def loss(turned: np.ndarray) -> float:
        return float(np.abs(turned).sum(1).mean())  # largest where every value is alike

    assert loss(rows @ turn) > loss(rows @ start)


def test_pack_is_most_significant_bit_first() -> None:
    logits = -np.ones((1, 256), np.float32)
    logits[0, [0, 15]] = 1
    assert pack(logits)[0, :3].tolist() == [128, 1, 0]


def test_bit_statistics_by_hand() -> None:
    codes = pack(np.where(np.arange(8)[:, None] % 2 == 0, 1.0, -1.0) * np.ones((1, 256)))
    assert bit_statistics(codes.astype(np.uint8)) == pytest.approx(
        {"worst_balance": 0.0, "mean_balance": 0.0, "correlation": 1.0}
    )
    constant = bit_statistics(np.zeros((4, 32), np.uint8))
    assert (constant["worst_balance"], constant["correlation"]) == (0.5, 0.0)


def test_axes_are_a_tight_frame_of_the_leading_ones() -> None:
    x = np.random.default_rng(1).normal(size=(120, 48)).astype(np.float32) * np.linspace(2, 0.1, 48, dtype=np.float32)
    weight, bias = rotated_axes(x, 32, 8)
    assert weight.shape == (32, 48)
    singular = np.linalg.svd(weight, compute_uv=False)
    assert singular[:8] == pytest.approx(1, abs=1e-5)
    assert singular[8:] == pytest.approx(0, abs=1e-5)
    centred = x - x.mean(0)
    leading = np.linalg.svd(centred, full_matrices=False)[2][:8]
    assert x @ weight.T + bias == pytest.approx((centred @ leading.T @ leading) @ weight.T, abs=1e-4)


def test_shares_of_different_bits_are_angles() -> None:
    """Charikar 2002: two signs of random directions differ with a chance of the angle over π."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(40, 16)).astype(np.float32)
    x = np.concatenate([x, -x])  # mean 0, so that the angles are about the origin
    shares = np.mean(
        [
            hamming(*[pack(x @ weight.T + bias)] * 2) / 64
            for weight, bias in (rotated_axes(x, 64, 16, seed) for seed in range(30))
        ],
        axis=0,
    )
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    angles = np.arccos(np.clip(unit @ unit.T, -1, 1)) / np.pi
    assert np.abs(shares - angles).max() < 0.06
    assert np.abs(shares - angles).mean() < 0.012
