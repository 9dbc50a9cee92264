"""Ways to make 256 bits of a 400-d embedding by one linear layer, and statistics of the bits. Numpy only.

The signs of the layer's outputs are the bits. A layer is trained with the network (`metric.hash` weighs it). The
layers here are fitted to the embeddings afterwards, and may take its place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
AXES = 128  # of a rotation; fewer lose more, and up to 192 lose as much (docs/benchmarks/unseen.md)


def itq(embedding: Floats, bits: int, iterations: int = 50, seed: int = 0) -> tuple[Floats, Floats]:
    """Iterative quantisation (Gong & Lazebnik 2011): PCA to `bits`, then the rotation that brings it nearest to ±1.

    `embedding float32 [n, d]` → weight `float32 [bits, d]` and bias `float32 [bits]`. A bit is weight · e + bias > 0.
    """
    mean = embedding.mean(0, dtype=np.float64)
    x = embedding - mean
    _, vectors = np.linalg.eigh(x.T @ x)
    axes = vectors[:, -bits:]
    projected = x @ axes
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((bits, bits)))
    for _ in range(iterations):
        left, _, right = np.linalg.svd(np.sign(projected @ rotation).T @ projected)
        rotation = (left @ right).T
    weight = (axes @ rotation).T
    return weight.astype(np.float32), (-weight @ mean).astype(np.float32)


def half_whitened_itq(
    embedding: Floats, bits: int, iterations: int = 50, seed: int = 0, power: float = 0.5
) -> tuple[Floats, Floats]:
    """ITQ of axes that are made more alike: each principal axis is divided by its standard deviation to the `power`,
    and rows get length 1 before the rotation is fitted.

    Without it the few wide axes decide most bits; with a power of 1 the narrow axes, which are mostly noise, count as
    much as the wide ones. The length of a row does not change the signs of its bits, so the layer need not compute it.
    `embedding float32 [n, d]` → weight `float32 [bits, d]` and bias `float32 [bits]`, as in `itq`.
    """
    axes, mean = half_whitened_axes(embedding, bits, power)
    projected = (embedding - mean) @ axes
    projected /= np.linalg.norm(projected, axis=1, keepdims=True) + 1e-12
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((bits, bits)))
    for _ in range(iterations):
        left, _, right = np.linalg.svd(np.sign(projected @ rotation).T @ projected)
        rotation = (left @ right).T
    weight = (axes @ rotation).T
    return weight.astype(np.float32), (-weight @ mean).astype(np.float32)


def half_whitened_axes(
    embedding: Floats, count: int, power: float = 0.5
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The leading principal axes of `embedding [n, d]`, each divided by its standard deviation to the `power`,
    `[d, count]`, and the mean `[d]`."""
    mean = embedding.mean(0, dtype=np.float64)
    x = embedding - mean
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    spread = np.sqrt(np.maximum(values[-count:], 1e-12))
    axes: NDArray[np.float64] = vectors[:, -count:] / spread**power
    return axes, mean


def rotated_axes(embedding: Floats, bits: int, axes: int, seed: int = 0, power: float = 0.0) -> tuple[Floats, Floats]:
    """A random rotation of the `axes` principal axes into `bits` directions, axes ≤ bits, which form a tight frame.

    The signs of two photos in a random direction differ with probability angle / π (Charikar 2002). With a `power` the
    axes are first divided by their standard deviation to it. `embedding float32 [n, d]` → weight `float32 [bits, d]`
    and bias `float32 [bits]`, as in `itq`.
    """
    leading, mean = half_whitened_axes(embedding, axes, power)
    spread, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((bits, axes)))
    weight = spread @ leading.T
    return weight.astype(np.float32), (-weight @ mean).astype(np.float32)


def pack(logits: Floats) -> NDArray[np.uint8]:
    """Hash logits `float32 [n, 256]` → `uint8 [n, 32]`, most significant bit first."""
    return np.packbits(logits > 0, axis=1)


def bit_statistics(codes: NDArray[np.uint8]) -> dict[str, float]:
    """Statistics of packed codes `uint8 [n, 32]`.

    Returns:
        `worst_balance` and `mean_balance`: |share of ones − ½| over bits; `correlation`: mean |correlation| of two
        bits.
    """
    bits = np.unpackbits(codes, axis=1).astype(np.float64)
    off = np.abs(bits.mean(0) - 0.5)
    live = bits[:, off < 0.5]  # a bit that never changes has no correlation
    between = 0.0
    if live.shape[1] > 1:
        correlation = np.abs(np.corrcoef(live.T))
        between = float(correlation[~np.eye(len(correlation), dtype=bool)].mean())
    return {"worst_balance": float(off.max()), "mean_balance": float(off.mean()), "correlation": between}
