"""Counts what the model answers, in the bins of the bundle's baseline, so that Prometheus sees when answers drift.

Each photo counts once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from prometheus_client import Counter

from engines.recognition import Predictions as EngineOutput
from engines.recognition.drift import LabelBins, domain_counts, score_counts, score_names
from schemas.baseline import NONE, Baseline, HeadBaseline
from schemas.manifest import Head, Manifest
from workers.watching import metrics


class PredictionMix:
    """The counters of one model. Only one thread may call it."""

    def __init__(self, manifest: Manifest, baseline: Baseline | None) -> None:
        """Shows the baseline and every counter with 0. Without a baseline, photos and domains are counted alone."""
        self._manifest = manifest
        version = manifest.model_version
        self._photos = metrics.PHOTOS.labels(version)
        domains = [d.id for d in manifest.applicability.domains] if manifest.applicability else []
        names = [*domains, NONE] if domains else []
        self._domains = {name: metrics.PHOTOS_APPLYING.labels(version, name) for name in names}
        self._heads: list[_HeadCounters] = []
        if baseline is None:
            return
        for name in names:
            if name in baseline.domains:
                metrics.BASELINE_APPLYING.labels(version, name).set(baseline.domains[name])
        for head in manifest.heads:
            if head.id in baseline.heads:
                self._heads.append(_HeadCounters(version, head, baseline.heads[head.id]))

    def note(self, output: EngineOutput, places: Sequence[int] | None = None) -> None:
        """Count the photos of a batch. `places`: of each row, the number of its box among those of its photo; None if
        each row is a photo. A photo with several boxes counts once, by its most confident one, as in the summary: a
        shelf of 16 boxes would weigh as much as 16 photos, and the boxes of one photo are no independent sample."""
        if places is not None and any(places):
            output = output.taken(np.flatnonzero(np.asarray(places) == 0))
        self._photos.inc(len(output))
        for name, count in domain_counts(self._manifest, output).items():
            if count:
                self._domains[name].inc(count)
        for head in self._heads:
            head.note(output)


class _HeadCounters:
    """The counters of one head, by bin of its labels and of its scores."""

    def __init__(self, version: str, head: Head, baseline: HeadBaseline) -> None:
        self._head = head.id
        self._bins = LabelBins(head, baseline.labels.keys())
        scores = dict(zip(score_names(len(baseline.scores)), baseline.scores, strict=True))
        self._labels, self._scores = (
            [metrics.PREDICTIONS.labels(version, head.id, kind, name) for name in names]
            for kind, names in (("label", self._bins.names), ("score", scores))
        )
        for kind, shares in (("label", baseline.labels), ("score", scores)):
            for name, share in shares.items():
                metrics.BASELINE.labels(version, head.id, kind, name).set(share)

    def note(self, output: EngineOutput) -> None:
        found = output.heads[self._head]
        _add(self._labels, self._bins.counts(found))
        _add(self._scores, score_counts(found, len(self._scores)))


def _add(counters: Sequence[Counter], counts: npt.NDArray[np.int64]) -> None:
    for counter, count in zip(counters, counts.tolist(), strict=True):
        if count:
            counter.inc(count)
