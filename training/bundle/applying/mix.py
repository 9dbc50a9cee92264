"""Fits applicability on cached features, and calibrates every head on a mix of all kinds of photos.

Nothing here runs the trunk. What a head says of photos to which it does not apply is as wrong as a wrong label, so such
photos take part in the calibration with as much weight as its own. The sigmoids were fitted to the generic photos; what
these photos are worth is therefore judged by sigmoids that were fitted without them.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from engines.recognition import Calibrator, HeadPredictions
from schemas.manifest import Head, Manifest
from training.bundle.applying.features import Features, Seen, Tail, some_of
from training.bundle.applying.graph import Members
from training.bundle.applying.sigmoids import Applying, domain_of, fit_applying, word_members
from training.bundle.probabilities.calibration import Shared, Words, calibrate_head, points, share
from training.bundle.probabilities.cross_fit import cross_fitted, folds_of
from training.evaluation import Predicted
from training.evaluation.scoring import Scored, foreign, places_of, product_numbers, score
from training.readers.label_table import Row, multiple
from training.readers.query_words import QUERY_COLUMN, query_words
from training.recipe import Recipe

log = logging.getLogger(__name__)
Raw = Mapping[str, NDArray[np.float32]]
FOLDS = 5  # of the generic photos
KNOWN = 5  # training photos with a word from which on a data set knows the word
LEARNT = ("train", "gallery")
IMITATES = "imagenet"  # the column of heads that imitate the packaged classifier


@dataclass(frozen=True)
class Photos:
    """All photos of one set that have features, and the heads' answers without applicability.

    Attributes:
        seen: rows and features.
        raw: head id → `float32 [n, labels]`.
        related: paths of generic photos of which nobody can say whether a head applies (`readers/related.py`).
    """

    seen: Seen
    raw: Raw
    related: frozenset[str] = frozenset()

    def places(self, splits: Collection[str]) -> NDArray[np.int64]:
        """Of the photos of these splits; of a set without splits, every photo is a training photo."""
        return np.array([i for i, row in enumerate(self.seen.rows) if row.get("split", "train") in splits], np.int64)

    def plain(self, splits: Collection[str]) -> NDArray[np.int64]:
        """The same without related photos."""
        rows = self.seen.rows
        return np.array([i for i in self.places(splits) if rows[i].get("path") not in self.related], np.int64)


def photos_of(tail: Tail, manifest: Manifest, seen: Seen, related: frozenset[str] = frozenset()) -> Photos:
    """The photos with the heads' answers."""
    outputs = tail.run(seen.feature)
    return Photos(seen, {head.id: outputs[head.output].astype(np.float32) for head in manifest.heads}, related)


class Mix:
    """The photos of a recipe's sets, and what its heads say of them once applicability is known."""

    def __init__(
        self, recipe: Recipe, manifest: Manifest, sets: Mapping[str, Photos], rows: Mapping[str, list[Row]]
    ) -> None:
        """`sets` has the data sets and the generic sets by name; `rows` all rows of the data sets, for their words."""
        self.recipe, self.manifest, self.sets = recipe, manifest, sets
        self._unjudged = {one.name for one in recipe.generic if not one.judged}
        self._shows = {one.name: set(one.shows) for one in recipe.generic}
        self.datasets = [d.name for d in recipe.datasets if any(d.name in h.datasets for h in manifest.heads)]
        self.words = {h.id: words_of(h, rows, self.datasets) for h in manifest.heads if h.kind == "multi_label"}
        self.applying = self._fit({}, None)
        self._apart = self._left_out()

    @property
    def members(self) -> Members:
        """By head: which data sets its labels belong to, see `graph.Members`."""
        found: dict[str, NDArray[np.float32]] = {}
        for head in self.manifest.heads:
            if head.id in self.words:
                found[head.id] = word_members(head, self.datasets, self.words[head.id][1], KNOWN)
            elif head.datasets:
                found[head.id] = np.array([[name in head.datasets] for name in self.datasets], np.float32)
        return found

    def _learnt(self, without: Mapping[str, NDArray[np.int64]]) -> dict[str, Features]:
        """Features to fit on, by set, without the photos at some places. Generic validation photos are fitted too."""
        found = {}
        for name, photos in self.sets.items():
            at = photos.plain(LEARNT if name in self.datasets else (*LEARNT, "val"))
            kept = {row["path"] for row in some_of(photos.seen.rows)}
            at = np.array([i for i in at if photos.seen.rows[i]["path"] in kept], np.int64)
            found[name] = photos.seen.feature[np.setdiff1d(at, without.get(name, np.empty(0, np.int64)))]
        return found

    def _fit(self, without: Mapping[str, NDArray[np.int64]], near: Applying | None) -> Applying:
        judged = {name: self.sets[name].seen.feature[self.sets[name].places(("val",))] for name in self.datasets}
        return fit_applying(self.recipe, self.manifest.heads, self._learnt(without), judged, near)

    def _left_out(self) -> dict[str, NDArray[np.float64]]:
        """p of each data set, `[n, d]`, for all photos of the generic sets, by sigmoids that did not see the photo."""
        generic = {one.name: self.sets[one.name] for one in self.recipe.generic}
        found = {name: self.applying.own(photos.seen.feature) for name, photos in generic.items()}
        parts = {name: np.array_split(_shuffled(len(photos.seen.rows)), FOLDS) for name, photos in generic.items()}
        for fold in range(FOLDS):
            fitted = self._fit({name: part[fold] for name, part in parts.items()}, self.applying)
            for name, part in parts.items():
                if len(part[fold]):
                    found[name][part[fold]] = fitted.own(generic[name].seen.feature[part[fold]])
        return found

    def answers(self, raw: Raw, own: NDArray[np.float64]) -> tuple[Raw, NDArray[np.float64]]:
        """Raw outputs with applicability, by head, and p(applies) of each domain `[n, m]`, from raw outputs without it
        and p of each data set, `own [n, d]`."""
        members = self.members
        found = {
            head: (values * np.minimum(own @ members[head], 1.0)).astype(np.float32) if head in members else values
            for head, values in raw.items()
        }
        return found, np.minimum(own @ self.applying.members, 1.0)

    def gated(self, name: str, *, apart: bool = False) -> tuple[Raw, NDArray[np.float64]]:
        """`answers` for a set's photos. `apart` takes sigmoids that did not see the generic photo."""
        photos = self.sets[name]
        own = self._apart[name] if apart and name in self._apart else self.applying.own(photos.seen.feature)
        return self.answers(photos.raw, own)

    def is_foreign(self, name: str, head: Head) -> bool:
        """Whether everything that a head says of a set's photos is wrong."""
        return bool(head.datasets) and name not in head.datasets and not self._shows.get(name, set()) & {*head.datasets}

    def calibrated(self, refitted: Collection[str]) -> list[Head]:
        """The heads with domain, tables and thresholds. `refitted` are the ids of heads that were fitted again without
        smoothing and without a tutor; they are more confident than the others, so they share a curve of their own."""
        plain = [
            msgspec.structs.replace(
                head, calibration=None, class_calibration={}, threshold=1.0, label_thresholds={}, domain=domain_of(head)
            )
            for head in self.manifest.heads
        ]
        answers = {name: self.gated(name, apart=True)[0] for name in self.sets}
        own = {head.id: self._own(head, answers) for head in plain}
        if self.recipe.judges_all_photos:
            own |= {h.id: [*own[h.id], *self.cross_fitted(h)] for h in plain if h.kind == "softmax" and h.datasets}
        alike = [head for head in plain if head.kind == "softmax" and head.datasets]
        shared: dict[str, Shared] = {}
        for again in (True, False):
            group = [head for head in alike if (head.id in refitted) == again]
            common = share([points(own[head.id], head) for head in group])
            shared |= {head.id: common for head in group}
        heads = []
        for head in plain:
            count = sum(len(s.targets) for s in own[head.id]) / max(1, len(own[head.id]))
            others = self._others(head, answers, count)
            words = self.words[head.id][0] if head.id in self.words else None
            asked = head.kind == "softmax" and head.datasets and not self.recipe.judges_all_photos
            learnt = partial(self.cross_fitted, head) if asked else None
            heads.append(
                calibrate_head(
                    own[head.id],
                    head,
                    self.recipe.target_precision,
                    shared.get(head.id),
                    words,
                    others=others,
                    learnt=learnt,
                    doubt=self.recipe.target_doubt,
                )
            )
            log.info("%s: offered from %.3f", head.id, heads[-1].threshold)
        return heads

    def object_folds(self, head: Head, name: str) -> HeadPredictions:
        """What a head without a data set says of all photos of a generic set with known objects, by tables that did not
        see the photo. Test photos fit no table."""
        photos = self.sets[name]
        column = next(one.objects for one in self.recipe.generic if one.name == name)
        plain = msgspec.structs.replace(head, calibration=None, class_calibration={}, threshold=1.0)
        raw = self.gated(name, apart=True)[0]
        learnt = self.places_of_objects(name)
        parts = []
        order = _shuffled(len(photos.seen.rows))
        for left in np.array_split(order, FOLDS):
            own = score(self._predicted(name, np.setdiff1d(learnt, left), plain, raw), column, plain)
            ready = calibrate_head([own], plain, self.recipe.target_precision)
            parts.append(Calibrator(ready, self.manifest.top_k).predict(raw[head.id][left]))
        back = np.argsort(order)
        return HeadPredictions(
            np.concatenate([part.labels for part in parts])[back],
            np.concatenate([part.probabilities for part in parts])[back],
            np.concatenate([part.offered for part in parts])[back],
        )

    def places_of_objects(self, name: str) -> NDArray[np.int64]:
        """The photos of a generic set that calibrate the heads without a data set."""
        return self.sets[name].places(("train", "val"))

    def _own(self, head: Head, answers: Mapping[str, Raw]) -> list[Scored]:
        """A head's predictions on the photos that choose: validation photos of its data sets, or, for a head that
        imitates the packaged classifier, generic photos whose object is known."""
        found = []
        for name in head.datasets:
            if name in self.sets:
                at = self.sets[name].places(("val",))
                found.append(score(self._predicted(name, at, head, answers[name]), head.column, head))
        for one in self.recipe.generic:
            if not head.datasets and one.objects:
                at = self.places_of_objects(one.name)
                found.append(score(self._predicted(one.name, at, head, answers[one.name]), one.objects, head))
        return [s for s in found if len(s.targets)]

    def cross_fitted(self, head: Head) -> list[Scored]:
        """A softmax head's uncalibrated predictions on the training photos of its data sets, by layers that did not
        learn from the photo, times p(applies)."""
        names = [name for name in head.datasets if name in self.sets]
        places = [self.sets[name].places(LEARNT) for name in names]
        rows = [self.sets[n].seen.rows[i] for n, at in zip(names, places, strict=True) for i in at]
        if not rows:
            return []
        feature = np.concatenate([self.sets[n].seen.feature[at] for n, at in zip(names, places, strict=True)])
        index = places_of(head)
        labels = np.array([index.get(row.get(head.column) or "", -1) for row in rows], np.int64)
        products = product_numbers(rows)
        fold = folds_of(np.arange(len(rows)) if products is None else products)
        said = cross_fitted(feature, labels, fold, len(head.labels))
        log.info("%s: training photos were asked, as validation photos alone are too few", head.id)
        raw = self.answers({head.id: said}, self.applying.own(feature))[0]
        made = Calibrator(head, self.manifest.top_k).predict(raw[head.id])
        found = score(alone(self.manifest, rows, head, made), head.column, head)
        return [found] if len(found.targets) else []

    def _others(self, head: Head, answers: Mapping[str, Raw], count: float) -> list[Scored]:
        """What a head says of other photos. Each set weighs as much as `count` photos of the head's own."""
        found = []
        for name, photos in self.sets.items():
            if self.is_foreign(name, head) and name not in self._unjudged:
                at = photos.plain(("val",) if name in self.datasets else ("train", "val"))
                said = self._predicted(name, at, head, answers[name])
                if len(said.rows):
                    found.append(foreign(head, said.predictions.heads[head.id], count / len(said.rows)))
        return found

    def _predicted(self, name: str, at: NDArray[np.int64], head: Head, raw: Raw) -> Predicted:
        """The photos at some places of a set, with uncalibrated predictions of one head."""
        photos = self.sets[name]
        made = Calibrator(head, self.manifest.top_k).predict(raw[head.id][at])
        return alone(self.manifest, [photos.seen.rows[i] for i in at], head, made)


def alone(manifest: Manifest, rows: list[Row], head: Head, made: HeadPredictions) -> Predicted:
    """Predictions of one head, without embedding and hash."""
    from engines.recognition import Predictions

    none = np.zeros((len(rows), 0), np.float32)
    return Predicted(manifest, rows, Predictions({head.id: made}, none, np.zeros((len(rows), 32), np.uint8)), [])


def words_of(head: Head, rows: Mapping[str, Sequence[Row]], datasets: Sequence[str]) -> tuple[Words, NDArray[np.int64]]:
    """What a multi-label head was taught for each label over the training photos, and how many photos of each data set
    had the label, `[d, labels]`."""
    place = places_of(head)
    shared, counts = np.zeros(len(place)), np.zeros((len(datasets), len(place)), np.int64)
    for i, name in enumerate(datasets):
        for row in rows.get(name, ()) if name in head.datasets else ():
            if row.get("split", "train") not in LEARNT:
                continue
            values = query_words(row) if head.column == QUERY_COLUMN else multiple(row.get(head.column, ""))
            known = [place[value] for value in values if value in place]
            counts[i, known] += 1
            shared[known] += 1 / max(1, len(known))
    usual = shared / np.maximum(1, counts.sum(0))
    return Words(usual, counts.argmax(0)), counts


def _shuffled(n: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).permutation(n)
