"""Figures of merit: functions of numpy arrays, which know nothing of bundles and folders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
BINS = 15  # of equal mass: every bin has the same number of photos
FLOOR_DRAWS = 50  # the mean of 50 draws is exact to a tenth of its value
SHUFFLE_SEED = 20201  # any fixed number: ties are broken by one fixed shuffle of the gallery


def accuracy(labels: NDArray[np.integer], targets: Ints) -> dict[str, float]:
    """Accuracy of predicted `labels` (any integer type `[n, k]`, the best first) for `targets int64 [n]`: `top1`,
    `top5`, and `macro`, the mean over classes of top-1 recall. All are from 0 to 1."""
    hit = labels[:, :5] == targets[:, None]
    first = hit[:, 0]
    macro = [float(first[targets == c].mean()) for c in np.unique(targets)]
    return {"top1": float(first.mean()), "top5": float(hit.any(1).mean()), "macro": float(np.mean(macro))}


def accuracy_of_sets(labels: NDArray[np.integer], positives: NDArray[np.bool_]) -> dict[str, float]:
    """The same for multi-label heads: a prediction is correct if it is one of the photo's `positives bool [n, l]`.

    `macro` is the mean, over labels, of the share of a label's photos that have it among their five best.
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

    For each label, the photos that have it among their stored predictions `labels` (any integer type `[n, k]`) are
    ranked by `probability` (any float type `[n, k]`), ties in their order. `positives bool [n, labels]` says which
    labels a photo should have. A photo that should have the label and does not is never found. So this is the figure of
    a search by label over stored predictions, and a lower bound of the figure over all scores.
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
    """Predictions of similar probability: `count`, mean probability (`said`), and share of correct ones (`right`)."""

    count: int
    said: float
    right: float


def reliability(probability: NDArray[np.floating], correct: NDArray[np.bool_], bins: int = BINS) -> list[Bin]:
    """Bins of equal mass in order of probability: the points of a reliability diagram. `probability` is any float type
    `[n]`, `correct` is `bool [n]`."""
    order = np.argsort(probability, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    return [Bin(len(part), float(probability[part].mean()), float(correct[part].mean())) for part in parts]


def ece(probability: NDArray[np.floating], correct: NDArray[np.bool_], bins: int = BINS) -> float:
    """Expected calibration error over bins of equal mass (Naeini et al. 2015, with equal mass): the mean of
    |mean probability − share correct|, weighted by count. `probability` is any float type `[n]`, `correct` is
    `bool [n]`."""
    gaps = [one.count * abs(one.said - one.right) for one in reliability(probability, correct, bins)]
    return float(sum(gaps) / len(probability))


def ece_floor(probability: NDArray[np.floating], bins: int = BINS) -> float:
    """The mean `ece` of exactly calibrated probabilities, any float type `[n]`. It is above 0 by chance alone, and more
    so with fewer photos. Outcomes are drawn from the probabilities, always with the same seed.
    """
    rng = np.random.default_rng(SHUFFLE_SEED)
    drawn = [ece(probability, rng.random(len(probability)) < probability, bins) for _ in range(FLOOR_DRAWS)]
    return float(np.mean(drawn))


def hamming(queries: NDArray[np.uint8], gallery: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Packed codes `[q, bytes]` and `[g, bytes]` → how many bits differ, `int32 [q, g]`."""
    rows = [np.bitwise_count(gallery ^ query).sum(1, dtype=np.int32) for query in queries]
    return np.stack(rows)


def cosine_distance(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit rows `[q, d]` and `[g, d]` → 1 − cosine, `float32 [q, g]`."""
    return (1.0 - queries @ gallery.T).astype(np.float32)


def recall(
    distance: NDArray[np.generic], query_ids: Ints, gallery_ids: Ints, ks: tuple[int, ...] = (1, 5, 10)
) -> dict[str, float]:
    """`recall_at_k`: the share of queries with an entry of their own id among the k nearest. `distance` is any dtype
    `[q, g]`, `query_ids` are `int64 [q]`, and `gallery_ids` are `int64 [g]`."""
    hit = ranked_hits(distance, query_ids, gallery_ids)
    return {f"recall_at_{k}": float(hit[:, :k].any(1).mean()) for k in ks}


def mean_average_precision(distance: NDArray[np.generic], query_ids: Ints, gallery_ids: Ints) -> float:
    """Mean over queries of the average precision of their whole ranking. `distance` is any dtype `[q, g]`, `query_ids`
    are `int64 [q]`, and `gallery_ids` are `int64 [g]`. Every query needs an entry of its own id."""
    hit = ranked_hits(distance, query_ids, gallery_ids)
    precision = np.cumsum(hit, axis=1) / np.arange(1, hit.shape[1] + 1)
    return float(((precision * hit).sum(1) / hit.sum(1)).mean())


def ranked_hits(distance: NDArray[np.generic], query_ids: Ints, gallery_ids: Ints) -> NDArray[np.bool_]:
    """`bool [q, g]`, nearest first: whether the entry has the query's id."""
    order = nearest(distance)
    hit: NDArray[np.bool_] = gallery_ids[order] == query_ids[:, None]
    return hit


def nearest(distance: NDArray[np.generic]) -> Ints:
    """`int64 [q, g]`: places in the gallery, nearest first; ties in the order of a fixed shuffle."""
    shuffle = np.random.default_rng(SHUFFLE_SEED).permutation(distance.shape[1])
    order: Ints = shuffle[np.argsort(distance[:, shuffle], axis=1, kind="stable")]
    return order
