"""Figures of merit, in numpy. Each is a function of arrays; nothing here knows of bundles or folders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
BINS = 15  # of equal mass: as many photos in each
FLOOR_DRAWS = 50  # the mean of so many is within a tenth of its own value
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


def average_precision_of_sets(
    labels: NDArray[np.integer], probability: NDArray[np.floating], positives: NDArray[np.bool_]
) -> float:
    """Mean average precision of a multi-label head over the labels that some photo has.

    For each label the photos that have it among their stored predictions `labels [n, k]` are ranked by `probability`,
    ties in their order; a photo that should and has it not is never found. So it is what a search by label over stored
    predictions gives, a lower bound of the figure over all scores.
    """
    values = []
    for label in np.flatnonzero(positives.any(0)):
        photos, places = np.nonzero(labels == label)
        order = np.argsort(-probability[photos, places], kind="stable")
        right = positives[photos[order], label]
        precision = np.cumsum(right) / np.arange(1, len(right) + 1)
        values.append(float(precision[right].sum() / positives[:, label].sum()))
    return float(np.mean(values))


@dataclass(frozen=True)
class Bin:
    """Predictions of about one probability: how many, what was said on average, how often it was so."""

    count: int
    said: float
    right: float


def reliability(probability: NDArray[np.floating], correct: NDArray[np.bool_], bins: int = BINS) -> list[Bin]:
    """Bins of equal mass, of rising probability: the points of a reliability diagram."""
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    return [Bin(len(part), float(probability[part].mean()), float(correct[part].mean())) for part in parts]


def ece(probability: NDArray[np.floating], correct: NDArray[np.bool_], bins: int = BINS) -> float:
    """Expected calibration error over equal-mass bins: Σ share · |mean probability − share correct|."""
    gaps = [one.count * abs(one.said - one.right) for one in reliability(probability, correct, bins)]
    return float(sum(gaps) / len(probability))


def ece_floor(probability: NDArray[np.floating], bins: int = BINS) -> float:
    """What `ece` gives on average where every probability is exactly true, by chance alone: the fewer, the more.

    Outcomes are drawn from the probabilities themselves, always by the same seed.
    """
    rng = np.random.default_rng(SHUFFLE_SEED)
    drawn = [ece(probability, rng.random(len(probability)) < probability, bins) for _ in range(FLOOR_DRAWS)]
    return float(np.mean(drawn))


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
    hit = ranked_hits(distance, query_ids, gallery_ids)
    return {f"recall_at_{k}": float(hit[:, :k].any(1).mean()) for k in ks}


def mean_average_precision(distance: NDArray[np.generic], query_ids: Ints, gallery_ids: Ints) -> float:
    """Mean over queries of the average precision of their whole ranking; each needs one of its own in the gallery."""
    hit = ranked_hits(distance, query_ids, gallery_ids)
    precision = np.cumsum(hit, axis=1) / np.arange(1, hit.shape[1] + 1)
    return float(((precision * hit).sum(1) / hit.sum(1)).mean())


def ranked_hits(distance: NDArray[np.generic], query_ids: Ints, gallery_ids: Ints) -> NDArray[np.bool_]:
    """`[q, g]`, nearest first: whether it is one of the query's own."""
    order = nearest(distance)
    hit: NDArray[np.bool_] = gallery_ids[order] == query_ids[:, None]
    return hit


def nearest(distance: NDArray[np.generic]) -> Ints:
    """`[q, g]`: places in the gallery, nearest first; ties stay in the order of a fixed shuffle."""
    shuffle = np.random.default_rng(SHUFFLE_SEED).permutation(distance.shape[1])
    order: Ints = shuffle[np.argsort(distance[:, shuffle], axis=1, kind="stable")]
    return order
