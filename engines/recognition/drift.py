"""Drift: in which bins the answers of a model fall, and how far two distributions over bins lie apart.

Each photo falls into one bin of labels and into one bin of scores for each head, so both are distributions that sum to
1. The population-stability index (PSI) of a live share a and a baseline share b is the sum of (a - b) · ln(a / b) over
the bins: the symmetric Kullback-Leibler divergence. Above 0.2 the usual reading is that the population has changed
(Siddiqi, Credit Risk Scorecards, 2006). Without any change its mean over random samples of n and m photos is about
(bins - 1) · (1/n + 1/m) (Yurdakul, Statistical Properties of Population Stability Index, 2018).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from engines.recognition.outputs.predictions import HeadPredictions, Predictions
from schemas.baseline import NONE, OTHER, Baseline, HeadBaseline
from schemas.manifest import Head, Manifest

SCORE_BINS = 10
KEPT_LABELS = 12
"""At most so many labels of a head have a bin of their own, which bounds the series of a metric."""
LEAST_SHARE = 0.01  # of the photos, for a bin of its own
FLOOR = 0.001
"""Shares below this count as this, because the logarithm of 0 is not finite. An empty bin of 1 % then adds 0.02."""


def psi(live: Mapping[str, float], baseline: Mapping[str, float]) -> float:
    """Return the population-stability index of two distributions over the same bins. Missing bins are empty."""
    total = 0.0
    for name in live.keys() | baseline.keys():
        a, b = max(live.get(name, 0.0), FLOOR), max(baseline.get(name, 0.0), FLOOR)
        total += (a - b) * math.log(a / b)
    return total


def score_names(bins: int) -> list[str]:
    """Return the names of the score bins: their upper bounds, such as `0.1`."""
    return [f"{(i + 1) / bins:g}" for i in range(bins)]


def first_offered(found: HeadPredictions) -> npt.NDArray[np.int64]:
    """Return for each photo the index of the best label that is offered, int64 [n]; -1 if none is."""
    place = found.offered.argmax(axis=1)
    rows = np.arange(len(place))
    return np.where(found.offered[rows, place], found.labels[rows, place], -1).astype(np.int64)


class LabelBins:
    """The bins of one head's labels: the kept ones, `OTHER` and `NONE`, in this order."""

    def __init__(self, head: Head, kept: Collection[str]) -> None:
        """`kept` are ids of labels; ids that the head does not have are left out."""
        chosen = frozenset(kept)
        mine = [label for label in head.labels if label.id in chosen]
        self.names = [*(label.id for label in mine), OTHER, NONE]
        self._bin_of = np.full(len(head.labels) + 1, len(mine), np.int64)  # the last place, -1, is for no label
        self._bin_of[[label.index for label in mine]] = np.arange(len(mine))
        self._bin_of[-1] = len(mine) + 1

    def counts(self, found: HeadPredictions) -> npt.NDArray[np.int64]:
        """Return the photos in each bin, int64 [bins]."""
        return np.bincount(self._bin_of[first_offered(found)], minlength=len(self.names))


def score_counts(found: HeadPredictions, bins: int = SCORE_BINS) -> npt.NDArray[np.int64]:
    """Return the photos by the calibrated probability of their best label, int64 [bins]. A bin has its lower bound; the
    last one has 1 as well."""
    best = np.minimum((found.probabilities[:, 0] * bins).astype(np.int64), bins - 1)
    return np.bincount(best, minlength=bins)


def domain_counts(manifest: Manifest, predictions: Predictions) -> dict[str, int]:
    """Return how many photos are of each domain, and with `NONE` of no domain. Empty without applicability."""
    if manifest.applicability is None or predictions.applicability is None:
        return {}
    columns = {d.id: predictions.applicability[d.id] >= d.threshold for d in manifest.applicability.domains}
    nothing = ~np.logical_or.reduce(list(columns.values()))
    return {name: int(mine.sum()) for name, mine in (columns | {NONE: nothing}).items()}


def baseline_of(manifest: Manifest, sets: Mapping[str, Predictions]) -> Baseline:
    """Return the baseline over several sets of photos. Each set has the same weight, whatever its size.

    Raises:
        ValueError: there is no photo.
    """
    sets = {name: one for name, one in sets.items() if len(one)}
    if not sets:
        raise ValueError("sets: no photo, so there is no distribution")
    heads = {head.id: _of_head(head, [one.heads[head.id] for one in sets.values()]) for head in manifest.heads}
    domains = [{name: n / len(one) for name, n in domain_counts(manifest, one).items()} for one in sets.values()]
    return Baseline(
        model_version=manifest.model_version,
        photos={name: len(one) for name, one in sets.items()},
        heads=heads,
        domains={name: _mean(one[name] for one in domains) for name in domains[0]},
    )


def _of_head(head: Head, sets: Sequence[HeadPredictions]) -> HeadBaseline:
    every = LabelBins(head, [label.id for label in head.labels])
    shares = dict(zip(every.names, _shares([every.counts(one) for one in sets]), strict=True))
    frequent = sorted((label.id for label in head.labels), key=lambda name: (-shares[name], name))[:KEPT_LABELS]
    bins = LabelBins(head, [name for name in frequent if shares[name] >= LEAST_SHARE])
    labels = dict(zip(bins.names, _shares([bins.counts(one) for one in sets]), strict=True))
    return HeadBaseline(labels=labels, scores=_shares([score_counts(one) for one in sets]))


def _shares(counts: Sequence[npt.NDArray[np.int64]]) -> list[float]:
    """The mean over sets of the share of each bin."""
    return [_mean(column) for column in zip(*((one / one.sum()).tolist() for one in counts), strict=True)]


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return round(math.fsum(found) / len(found), 6)
