"""Training photos as validation photos, for heads on a trunk that did not learn from them.

Fifteen photos of each label are too few to learn from, and still too few to set some of them aside. So each photo is
judged by a layer that was fitted to the others, as the bundle's own layer is fitted to all of them
(`training/bundle/probabilities/cross_fit.py`). Because the trunk saw no photo, such a judgement is that of a new photo,
and it calibrates the head and finds its threshold like a validation photo.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.recognition import Calibrator, Predictions
from schemas.manifest import Head, Manifest
from training.bundle.probabilities.cross_fit import cross_fitted, folds_of
from training.data.corpus import Corpus
from training.evaluation import Predicted
from training.evaluation.scoring import Scored, score

FOLDS = 10  # a layer learns from nine tenths of the photos, nearly as many as the bundle's own


def judged_by_others(manifest: Manifest, corpus: Corpus, head: Head) -> list[Scored]:
    """A softmax head's uncalibrated predictions on the training photos of its data sets. Each photo is judged by a
    layer that saw neither it nor another photo of its product.

    Heads of several labels a photo, and heads that are mixed with a finer one, are left out: their answers are not
    those of one softmax layer.
    """
    target = next(one for one in corpus.heads if one.spec.id == head.id)
    if head.kind != "softmax" or target.spec.source == "imagenet" or head.id in corpus.groups:
        return []
    numbers = _shuffled(corpus.learnt[corpus.members(tuple(head.datasets))[corpus.learnt]])
    labels = target.targets[numbers].astype(np.int64)
    products = corpus.products[numbers]
    alone = np.where(products >= 0, products, products.max(initial=0) + 1 + np.arange(len(numbers)))
    feature = corpus.frozen.feature[numbers].astype(np.float32)
    said = cross_fitted(feature, labels, folds_of(alone, FOLDS), len(head.labels))
    made = Calibrator(head, manifest.top_k).predict(said)
    rows = [row for photos in corpus.sets for row in photos.rows]
    none = np.zeros((len(numbers), 0), np.float32)
    predictions = Predictions({head.id: made}, none, np.zeros((len(numbers), 32), np.uint8))
    found = score(Predicted(manifest, [rows[i] for i in numbers], predictions, []), head.column, head)
    return [found] if len(found.targets) else []


def _shuffled(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """In a fixed random order: tables are judged by runs of photos, and photos often lie in the order of their
    labels."""
    return np.random.default_rng(0).permutation(numbers)
