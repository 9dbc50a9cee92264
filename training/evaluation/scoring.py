"""What a head said beside the truth, and its figures; photo → catalogue picture beside the truth, and its figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.recognition import HeadPredictions, asymmetric
from schemas.manifest import Head
from training.evaluation import metrics
from training.evaluation.folder import Predicted
from training.readers.label_table import Row, is_catalogue, multiple
from training.readers.query_words import QUERY_COLUMN, query_words

Figures = dict[str, float | None]  # None: nothing to measure it on
IDENTITY = "product"  # the column that says which photos show the same thing
PREFIXES = (16, 32, 64, 96, 128, 160, 192, 224, 256)  # bits of a hash that are compared in `by_bits`
_OF_LABELS = ("top1", "top5", "macro", "ece", "ece_floor")


@dataclass(frozen=True)
class Scored:
    """A head's predictions beside the truth, for the rows whose label the head has.

    `positives` for multi-label; `products [n]` numbers the photos' products, None where it is not known which are of
    one; `rows [n]` are the places of the photos in what was predicted.
    """

    head: Head
    predictions: HeadPredictions
    targets: NDArray[np.int64]
    positives: NDArray[np.bool_] | None
    outside: int
    products: NDArray[np.int64] | None = None
    rows: NDArray[np.int64] | None = None

    @property
    def correct(self) -> NDArray[np.bool_]:
        """bool [n, k]: whether each of the k predictions is right."""
        labels = self.predictions.labels.astype(np.int64)
        if self.positives is not None:
            right: NDArray[np.bool_] = np.take_along_axis(self.positives, labels, axis=1)
        else:
            right = labels == self.targets[:, None]
        return right


def score(predicted: Predicted, column: str, head: Head) -> Scored:
    """Predictions and truth of one head for the natural photos."""
    place = {label.value: label.index for label in head.labels}
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


def together(parts: Sequence[Scored]) -> Scored:
    """One head's photos of several data sets as one; without `products` and `rows`, which are of one data set each."""
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
    """`int64 [n]`, equal for photos of one product; None where no row says. A photo that does not say is alone."""
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
    """Figures of one head, None where no photo has a label that it knows.

    `top1`, `top5`, `macro`; `ece` of the first label, in a multi-label head of all predictions, with `ece_top1` for the
    first and `map`; `ece_floor` is what `ece` would be by chance alone; `offered` is the share of photos whose first
    label reaches the operating threshold, `precision` how many of the labels that do are right.
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
    """Photos (`photos`, places in what was predicted) against catalogue pictures (`catalogue`): distances `[q, g]`,
    and the number of the product of each."""

    photos: NDArray[np.int64]
    catalogue: NDArray[np.int64]
    photo_ids: NDArray[np.int64]
    catalogue_ids: NDArray[np.int64]
    by_float: NDArray[np.float32]
    by_hash: NDArray[np.int32]
    by_fine: NDArray[np.float32] | None


def neighbours(predicted: Predicted, identity: str = IDENTITY) -> Neighbours | None:
    """Photos whose product has a catalogue picture; None where there are none."""
    ids: dict[str, int] = {}
    numbers = np.array([ids.setdefault(row.get(identity, ""), len(ids)) for row in predicted.rows], np.int64)
    catalogue = np.array([is_catalogue(row) and bool(row.get(identity)) for row in predicted.rows], np.bool_)
    photos = ~np.array([is_catalogue(row) for row in predicted.rows]) & np.isin(numbers, numbers[catalogue])
    if not photos.any():
        return None
    said = predicted.predictions
    codes, vectors, layer = said.hash, said.embedding, said.layer
    return Neighbours(
        np.flatnonzero(photos),
        np.flatnonzero(catalogue),
        numbers[photos],
        numbers[catalogue],
        metrics.cosine_distance(vectors[photos], vectors[catalogue]),
        metrics.hamming(codes[photos], codes[catalogue]),
        None if layer is None else asymmetric(layer.margins(vectors[photos]), codes[catalogue]),
    )


def retrieval(found: Neighbours) -> dict[str, dict[str, float]]:
    """`float`, `hash` and `fine`, the catalogue's hashes by the photo's bits before they were rounded, where the bundle
    tells them: Recall@1/5/10 and mean average precision."""
    distances = {"float": found.by_float, "hash": found.by_hash}
    if found.by_fine is not None:
        distances["fine"] = found.by_fine
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
    """Recall@1/5/10 by the first bits of the hash alone, by their number."""
    codes = predicted.predictions.hash
    result: dict[str, dict[str, float]] = {}
    for bits in PREFIXES:
        photos, catalogue = codes[found.photos, : bits // 8], codes[found.catalogue, : bits // 8]
        distance = metrics.hamming(photos, catalogue)
        result[str(bits)] = metrics.recall(distance, found.photo_ids, found.catalogue_ids)
    return result
