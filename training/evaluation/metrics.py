"""Figures of merit, in numpy. Each is a function of arrays; nothing here knows of bundles or folders."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
SHUFFLE_SEED = 20201  # any number, but always the same: ties are broken by one fixed shuffle of the gallery


def accuracy(labels: NDArray[np.integer], targets: Ints) -> dict[str, float]:
    """`labels [n, k]` best first, `targets [n]` → `top1`, `top5` and `macro` (mean over classes of top-1 recall)."""
    hit = labels[:, :5] == targets[:, None]
    first = hit[:, 0]
    macro = [float(first[targets == c].mean()) for c in np.unique(targets)]
    return {"top1": float(first.mean()), "top5": float(hit.any(1).mean()), "macro": float(np.mean(macro))}


def accuracy_of_sets(labels: NDArray[np.integer], positives: NDArray[np.bool_]) -> dict[str, float]:
    """Multi-label: a prediction is right where it is one of the photo's `positives bool [n, l]`.

    `macro` is the mean over labels of how many of a label's photos have it among their five best.
    """
    hit = np.take_along_axis(positives, labels[:, :5].astype(np.int64), axis=1)
    among = np.zeros_like(positives)
    np.put_along_axis(among, labels[:, :5].astype(np.int64), True, axis=1)
    present = positives.any(0)
    recall = (among & positives)[:, present].sum(0) / positives[:, present].sum(0)
    return {"top1": float(hit[:, 0].mean()), "top5": float(hit.any(1).mean()), "macro": float(recall.mean())}


def ece(probability: NDArray[np.floating], correct: NDArray[np.bool_], bins: int = 15) -> float:
    """Expected calibration error over equal-mass bins: Σ share · |mean probability − share correct|."""
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    gaps = [len(p) * abs(float(probability[p].mean()) - float(correct[p].mean())) for p in parts]
    return float(sum(gaps) / len(order))


def hamming(queries: NDArray[np.uint8], gallery: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Bits that differ, `[q, g]`, of packed codes."""
    rows = [np.bitwise_count(gallery ^ query).sum(1, dtype=np.int32) for query in queries]
    return np.stack(rows)


def cosine_distance(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 − cosine of unit rows, `[q, g]`."""
    return (1.0 - queries @ gallery.T).astype(np.float32)


def recall(
    distance: NDArray[np.generic], query_ids: Ints, gallery_ids: Ints, ks: tuple[int, ...] = (1, 5, 10)
) -> dict[str, float]:
    """Share of queries with one of their own among the k nearest; ties stay in the order of a fixed shuffle."""
    shuffle = np.random.default_rng(SHUFFLE_SEED).permutation(len(gallery_ids))
    ranked = np.argsort(distance[:, shuffle], axis=1, kind="stable")[:, : max(ks)]
    hit = gallery_ids[shuffle][ranked] == query_ids[:, None]
    return {f"recall_at_{k}": float(hit[:, :k].any(1).mean()) for k in ks}
