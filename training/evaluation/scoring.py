"""Predictions next to the truth, and their figures: those of a head, and those of photo → catalogue photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engines.recognition import HeadPredictions, asymmetric, cosines, in_eight_bits
from schemas.manifest import Head
from training.evaluation import metrics
from training.evaluation.folder import Predicted
from training.readers.label_table import Row, is_catalogue, multiple
from training.readers.query_words import QUERY_COLUMN, query_words

Figures = dict[str, float | None]  # None: nothing to measure it on
IDENTITY = "product"  # photos with one value in this column show the same product
PREFIXES = (16, 32, 64, 96, 128, 160, 192, 224, 256)  # numbers of bits that `by_bits` compares
_OF_LABELS = ("top1", "top5", "macro", "ece", "ece_floor")


@dataclass(frozen=True)
class Scored:
    """A head's predictions and the truth, for the n photos whose label the head knows.

    Attributes:
        head: of the manifest.
        predictions: k labels for each photo.
        targets: `int64 [n]`, the true label; of several, the first.
        positives: `bool [n, labels]`, all true labels of a multi-label head; None for a softmax head.
        outside: how many further photos have a label that the head does not know.
        products: `int64 [n]`, equal for photos of one product; None if no row names a product.
        rows: `int64 [n]`, the photos' places in `Predicted.rows`.
        share: the weight of each photo in a calibration.
    """

    head: Head
    predictions: HeadPredictions
    targets: NDArray[np.int64]
    positives: NDArray[np.bool_] | None
    outside: int
    products: NDArray[np.int64] | None = None
    rows: NDArray[np.int64] | None = None
    share: float = 1.0

    @property
    def correct(self) -> NDArray[np.bool_]:
        """`bool [n, k]`: whether each of the k predictions is correct."""
        labels = self.predictions.labels.astype(np.int64)
        if self.positives is not None:
            right: NDArray[np.bool_] = np.take_along_axis(self.positives, labels, axis=1)
        else:
            right = labels == self.targets[:, None]
        return right


def score(predicted: Predicted, column: str, head: Head) -> Scored:
    """The predictions of one head and the truth in `column`, for all photos that are no catalogue photos."""
    place = places_of(head)
    photos = [i for i, row in enumerate(predicted.rows) if not is_catalogue(row)]
    truth = [_truth(predicted.rows[i], column, head) for i in photos]
    known = [[place[v] for v in values if v in place] for values in truth]
    kept = [n for n, labels in enumerate(known) if labels]
    outside = sum(1 for values, labels in zip(truth, known, strict=True) if values and not labels)
    at = np.array([photos[n] for n in kept], np.int64)
    mine = predicted.predictions.heads[head.id]
    positives = None
    if head.kind == "multi_label":
        positives = np.zeros((len(kept), len(head.labels)), np.bool_)
        for row, n in enumerate(kept):
            positives[row, known[n]] = True
    targets = np.array([known[n][0] for n in kept], np.int64)
    chosen = HeadPredictions(mine.labels[at], mine.probabilities[at], mine.offered[at])
    products = product_numbers([predicted.rows[i] for i in at])
    return Scored(head, chosen, targets, positives, outside, products, at)


def places_of(head: Head) -> dict[str, int]:
    """Text in the data → place among the head's outputs, also of texts that were merged into a label."""
    return {text: label.index for label in head.labels for text in (*label.merged, label.value)}


def foreign(head: Head, predictions: HeadPredictions, share: float = 1.0) -> Scored:
    """Photos to which the head does not apply: whatever it says of them is wrong."""
    n = len(predictions.labels)
    positives = np.zeros((n, len(head.labels)), np.bool_) if head.kind == "multi_label" else None
    return Scored(head, predictions, np.full(n, -1, np.int64), positives, 0, share=share)


def taken(scored: Scored, at: NDArray[np.int64]) -> Scored:
    """The photos at the places `at`, `int64 [m]`."""
    found = scored.predictions
    return replace(
        scored,
        predictions=HeadPredictions(found.labels[at], found.probabilities[at], found.offered[at]),
        targets=scored.targets[at],
        positives=None if scored.positives is None else scored.positives[at],
        products=None if scored.products is None else scored.products[at],
        rows=None if scored.rows is None else scored.rows[at],
    )


def together(parts: Sequence[Scored]) -> Scored:
    """One head's photos of several data sets as one. `products` and `rows` are left out, because they number the photos
    of a single data set."""
    found = [part.predictions for part in parts]
    predictions = HeadPredictions(
        np.concatenate([one.labels for one in found]),
        np.concatenate([one.probabilities for one in found]),
        np.concatenate([one.offered for one in found]),
    )
    marks = [part.positives for part in parts if part.positives is not None]
    positives = np.concatenate(marks) if marks else None
    targets = np.concatenate([part.targets for part in parts])
    return Scored(parts[0].head, predictions, targets, positives, sum(part.outside for part in parts))


def product_numbers(rows: Sequence[Row]) -> NDArray[np.int64] | None:
    """`int64 [n]`, equal for photos of one product, or None if no row names a product. A photo without a product has a
    number of its own."""
    if not any(row.get(IDENTITY) for row in rows):
        return None
    names = [row.get(IDENTITY) or f"/{i}" for i, row in enumerate(rows)]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _truth(row: Row, column: str, head: Head) -> list[str]:
    if head.column == QUERY_COLUMN and column not in row:
        return sorted(query_words(row))
    value = row.get(column) or ""
    return multiple(value) if head.kind == "multi_label" else [value] if value else []


def figures(scored: Scored) -> Figures:
    """The figures of one head. Each is None if no photo has a label that the head knows.

    Returns:
        `n`: photos. `top1`, `top5`, `macro`: see `metrics.accuracy`. `ece`: calibration error of the first label, or
        of all predictions of a multi-label head, which also has `ece_top1` for the first label and `map`. `ece_floor`:
        the `ece` that chance alone would give. `offered`: the share of photos whose first label reaches the operating
        threshold. `precision`: the share of correct labels among all that reach it. `outside`: photos with unknown
        labels.
    """
    many = scored.positives is not None
    names = (*_OF_LABELS, *(("ece_top1", "map") if many else ()), "offered", "precision")
    if not len(scored.targets):
        return {"n": 0, **dict.fromkeys(names), "outside": scored.outside}
    found, correct = scored.predictions, scored.correct
    said, right = found.probabilities[:, 0], correct[:, 0]
    values: Figures = {}
    if scored.positives is None:
        values |= metrics.accuracy(found.labels, scored.targets)
    else:
        values |= metrics.accuracy_of_sets(found.labels, scored.positives)
        values["ece_top1"] = metrics.ece(said, right)
        values["map"] = metrics.average_precision_of_sets(found.labels, found.probabilities, scored.positives)
        said, right = found.probabilities.ravel(), correct.ravel()
    values["ece"], values["ece_floor"] = metrics.ece(said, right), metrics.ece_floor(said)
    values["offered"] = float(found.offered[:, 0].mean())
    values["precision"] = float(correct[found.offered].mean()) if found.offered.any() else None
    return {"n": len(scored.targets), **{name: values[name] for name in names}, "outside": scored.outside}


@dataclass(frozen=True)
class Neighbours:
    """Distances between q photos and g catalogue photos.

    Attributes:
        photos: `int64 [q]`, places in `Predicted.rows`.
        catalogue: `int64 [g]`, likewise.
        photo_ids: `int64 [q]`, numbers of the photos' products.
        catalogue_ids: `int64 [g]`, numbers of the catalogue photos' products.
        by_float: `float32 [q, g]`, 1 − cosine of the embeddings.
        by_hash: `int32 [q, g]`, bits that differ.
        by_fine: `float32 [q, g]`, catalogue hashes against the photo's margins; None if the bundle does not tell its
            hash layer.
        rescored: `float32 [q, g]`, 1 − cosine of the embeddings, the catalogue's kept in eight bits, as a
            search compares them; None likewise.
    """

    photos: NDArray[np.int64]
    catalogue: NDArray[np.int64]
    photo_ids: NDArray[np.int64]
    catalogue_ids: NDArray[np.int64]
    by_float: NDArray[np.float32]
    by_hash: NDArray[np.int32]
    by_fine: NDArray[np.float32] | None
    rescored: NDArray[np.float32] | None = None


def neighbours(predicted: Predicted, identity: str = IDENTITY) -> Neighbours | None:
    """Distances, `float32 [q, g]` and `int32 [q, g]`, between the photos whose product has a catalogue photo and all
    catalogue photos. None if there are no such photos."""
    ids: dict[str, int] = {}
    numbers = np.array([ids.setdefault(row.get(identity, ""), len(ids)) for row in predicted.rows], np.int64)
    catalogue = np.array([is_catalogue(row) and bool(row.get(identity)) for row in predicted.rows], np.bool_)
    photos = ~np.array([is_catalogue(row) for row in predicted.rows]) & np.isin(numbers, numbers[catalogue])
    if not photos.any():
        return None
    said = predicted.predictions
    codes, vectors, layer = said.hash, said.embedding, said.layer
    found = Neighbours(
        np.flatnonzero(photos),
        np.flatnonzero(catalogue),
        numbers[photos],
        numbers[catalogue],
        metrics.cosine_distance(vectors[photos], vectors[catalogue]),
        metrics.hamming(codes[photos], codes[catalogue]),
        None,
    )
    if layer is None:
        return found
    fine = asymmetric(layer.margins(vectors[photos]), codes[catalogue])
    return replace(found, by_fine=fine, rescored=1.0 - cosines(vectors[photos], in_eight_bits(vectors[catalogue])))


def retrieval(found: Neighbours) -> dict[str, dict[str, float]]:
    """Recall@1/5/10 and mean average precision, from the distances `[q, g]` of `found`: by `float` (the embedding), by
    `hash`, and, if the bundle tells its hash layer, by `fine`, which compares catalogue hashes with the photo's
    margins, and `rescored`, which compares the embeddings of both, the catalogue's in eight bits."""
    distances = {"float": found.by_float, "hash": found.by_hash}
    if found.by_fine is not None:
        distances["fine"] = found.by_fine
    if found.rescored is not None:
        distances["rescored"] = found.rescored
    ids = (found.photo_ids, found.catalogue_ids)
    return {
        name: {
            "n": len(found.photos),
            **metrics.recall(distance, *ids),
            "map": metrics.mean_average_precision(distance, *ids),
        }
        for name, distance in distances.items()
    }


def by_bits(predicted: Predicted, found: Neighbours) -> dict[str, dict[str, float]]:
    """Number of bits → Recall@1/5/10 by that many first bits of the hashes `uint8 [n, 32]` in `predicted`."""
    codes = predicted.predictions.hash
    result: dict[str, dict[str, float]] = {}
    for bits in PREFIXES:
        photos, catalogue = codes[found.photos, : bits // 8], codes[found.catalogue, : bits // 8]
        distance = metrics.hamming(photos, catalogue)
        result[str(bits)] = metrics.recall(distance, found.photo_ids, found.catalogue_ids)
    return result
