"""Is what a bundle offers true on any photo? Equally many photos of several sets, and what its heads offer on them.

A set that a head names among its data sets is the head's own. Every other set is foreign to the head, and whatever the
head offers there is nonsense, unless the caller says that the set shows such products too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from engines.recognition import build_engine
from schemas.errors import ConfigError
from schemas.manifest import Head, Manifest
from training.evaluation import metrics
from training.evaluation.folder import Predicted, predict
from training.evaluation.scoring import Scored, foreign, score, together
from training.readers import read
from training.readers.label_table import Row, is_catalogue
from training.readers.related import without_related
from training.readers.splits import chance

FEW = 100  # heads with fewer offers are pooled, because their precision says nothing


class SetFigures(TypedDict):
    """Of one set: photos, nonsense labels offered a photo, and the share of photos with at least one."""

    photos: int
    nonsense: float
    touched: float


class HeadFigures(TypedDict):
    """Of one head on the mix, see `mix_report`."""

    photos: int
    top1: float | None
    offers: int
    precision: float | None
    offered: float | None
    best_offered: float | None
    ece: float | None
    ece_floor: float | None
    lost: float | None


class MixReport(TypedDict):
    """What `groknet evaluate --mix` prints."""

    sets: dict[str, SetFigures]
    heads: dict[str, HeadFigures]
    pooled: dict[str, int | float | None]


@dataclass(frozen=True)
class MixSet:
    """One set of the mix.

    Attributes:
        predicted: its photos, without related ones where they are foreign to everything.
        shows: data sets whose heads may rightly speak of these photos.
        objects: the column with the labels of the heads that have no data set, or "".
    """

    predicted: Predicted
    shows: frozenset[str] = frozenset()
    objects: str = ""


def measure_mix(
    bundle: Path,
    folders: Mapping[str, Path],
    *,
    split: str = "test",
    shows: Mapping[str, frozenset[str]] | None = None,
    objects: Mapping[str, str] | None = None,
    most: int = 0,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MixReport:
    """Measure a bundle on a mix of labelled folders; see `mix_report`.

    Args:
        bundle: the bundle's folder.
        folders: name of a set → its folder, which has a labels.csv. The name of an own set is that of the data set.
        split: the photos to take; all photos of a folder without splits.
        shows: see `MixSet`.
        objects: see `MixSet`. Of a set that is not named here, and that no head names, the column is found whose values
            are mostly labels of such a head.
        most: photos of each set; 0 means as many as the smallest set that a head names has.
        threads: of the engine.
        progress: called with the photos done and in all.

    Raises:
        BundleRefused: the bundle cannot be used.
        ConfigError: a folder cannot be used.
    """
    engine = build_engine(bundle, threads=threads)
    shows = shows or {}
    rows = {name: _rows(folder, split) for name, folder in folders.items()}
    known = {name for head in engine.manifest.heads for name in head.datasets}
    most = most or min(
        (len(some) for name, some in rows.items() if name in known), default=max(map(len, rows.values()))
    )
    found = {name: column for name in rows.keys() - known if (column := objects_column(engine.manifest, rows[name]))}
    objects = {**found, **(objects or {})}
    drawn = {name: evenly(some, most) for name, some in rows.items()}
    total, done = sum(map(len, drawn.values())), 0
    sets = {}
    for name, chosen in drawn.items():
        before = done
        told = None if progress is None else lambda n, _, before=before: progress(before + n, total)
        sets[name] = MixSet(
            predict(engine, folders[name], chosen, told), shows.get(name, frozenset()), objects.get(name, "")
        )
        done += len(chosen)
    engine.close()
    return mix_report(engine.manifest, sets)


def _rows(folder: Path, split: str) -> list[Row]:
    rows = without_related(folder, read("csv", folder).rows)
    kept = [row for row in rows if row.get("split", split) == split and not is_catalogue(row)]
    if not kept:
        there = sorted({row.get("split", "") for row in rows})
        raise ConfigError(f"--mix {folder}: no photo has the split {split!r}; its splits are {', '.join(there)}")
    return kept


def objects_column(manifest: Manifest, rows: Sequence[Row]) -> str:
    """The first column of which most values are labels of a head without a data set, or ""."""
    labels = [{label.value for label in head.labels} for head in manifest.heads if not head.datasets]
    for column in rows[0]:
        values = {row[column] for row in rows if row.get(column)}
        if any(2 * len(values & known) > len(values) for known in labels):
            return column
    return ""


def evenly(rows: Sequence[Row], most: int) -> list[Row]:
    """At most `most` of the rows, the same ones each time, in their order."""
    kept = {row["path"] for row in sorted(rows, key=lambda row: chance(row["path"]))[:most]}
    return [row for row in rows if row["path"] in kept]


def mix_report(manifest: Manifest, sets: Mapping[str, MixSet]) -> MixReport:
    """The figures of predictions on a mix.

    Returns:
        `sets`: nonsense a photo, counted over all heads to which the set is foreign.
        `heads`: `photos` of the head's own sets whose label it knows, and their `top1`. Over own and foreign photos:
        `offers`, their `precision`, `ece`, and `ece_floor`, the `ece` that chance alone would give. Over own photos:
        `offered`, the share whose first label is offered; `best_offered`, the same at the threshold that would be best
        for the target precision on these very photos; `lost`, the share of right first labels that p(applies) costs:
        without it, as many more would be offered at the same precision.
        `pooled`: `precision` of all heads with fewer than `FEW` offers together, their `offers`, the worst `ece`, and
        the worst `lost` of a domain, all its heads together.
        A figure without photos is None.
    """
    heads, right, offers = {}, 0, 0
    kept: dict[str, tuple[int, int]] = {}
    for head in manifest.heads:
        figures, hits, counts = _of_head(manifest, head, sets)
        if not figures["photos"]:
            continue
        heads[head.id] = figures
        if head.domain:
            before = kept.get(head.domain, (0, 0))
            kept[head.domain] = (before[0] + counts[0], before[1] + counts[1])
        if figures["offers"] < FEW:
            right, offers = right + hits, offers + figures["offers"]
    worst = max((f["ece"] for f in heads.values() if f["ece"] is not None), default=None)
    pooled = {
        "offers": offers,
        "precision": right / offers if offers else None,
        "worst_ece": worst,
        "worst_lost": max((lost for counts in kept.values() if (lost := _lost(counts)) is not None), default=None),
    }
    return {
        "sets": {name: _of_set(manifest, name, one) for name, one in sets.items()},
        "heads": heads,
        "pooled": pooled,
    }


def is_foreign(head: Head, name: str, shows: frozenset[str]) -> bool:
    """Whether whatever a head says of a set's photos is wrong."""
    return bool(head.datasets) and name not in head.datasets and not shows & {*head.datasets}


def _of_set(manifest: Manifest, name: str, one: MixSet) -> SetFigures:
    found = one.predicted.predictions
    counts = np.zeros(len(one.predicted.rows), np.int64)
    for head in manifest.heads:
        if is_foreign(head, name, one.shows):
            counts += found.heads[head.id].offered.sum(1)
    return {"photos": len(counts), "nonsense": float(counts.mean()), "touched": float((counts > 0).mean())}


def _of_head(manifest: Manifest, head: Head, sets: Mapping[str, MixSet]) -> tuple[HeadFigures, int, tuple[int, int]]:
    """The figures, how many offers are right, and how many right first labels are offered with and without
    p(applies)."""
    own, alone, others = [], [], []
    for name, one in sets.items():
        column = head.column if name in head.datasets else one.objects if not head.datasets else ""
        if column:
            scored = score(one.predicted, column, head)
            own.append(scored)
            alone.append(_applies(manifest, head, one.predicted, scored))
        elif is_foreign(head, name, one.shows):
            others.append(foreign(head, one.predicted.predictions.heads[head.id]))
    if not sum(len(s.targets) for s in own):
        none: HeadFigures = {
            "photos": 0, "top1": None, "offers": 0, "precision": None, "offered": None, "best_offered": None,
            "ece": None, "ece_floor": None, "lost": None,
        }  # fmt: skip
        return none, 0, (0, 0)
    mine, mixed = together(own), together([*own, *others])
    said, correct = mixed.predictions, mixed.correct
    offers, hits = int(said.offered.sum()), int(correct[said.offered].sum())
    many = head.kind == "multi_label"
    judged = (said.probabilities.ravel(), correct.ravel()) if many else (said.probabilities[:, 0], correct[:, 0])
    counts = _right_offers(manifest, head, mine, np.concatenate(alone))
    return {
        "photos": len(mine.targets),
        "top1": float(mine.correct[:, 0].mean()),
        "offers": offers,
        "precision": hits / offers if offers else None,
        "offered": float(mine.predictions.offered[:, 0].mean()),
        "best_offered": best_offered(mine, head.target_precision),
        "ece": metrics.ece(*judged),
        "ece_floor": metrics.ece_floor(judged[0]),
        "lost": _lost(counts) if head.domain else 0.0,
    }, hits, counts  # fmt: skip


def best_offered(scored: Scored, precision: float) -> float:
    """The share of photos whose first label is offered at the lowest threshold that has `precision` on these photos. A
    softmax head offers nothing below one half."""
    said, correct = scored.predictions.probabilities.ravel(), scored.correct.ravel()
    if scored.positives is None:
        said, correct = said[said >= 0.5], correct[said >= 0.5]
    order = np.argsort(-said, kind="stable")
    ranked, right = said[order], np.cumsum(correct[order])
    last = np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)]
    good = np.flatnonzero(last & (right / np.arange(1, len(ranked) + 1) >= precision))
    if not len(good):
        return 0.0
    return float((scored.predictions.probabilities[:, 0] >= ranked[good[-1]]).mean())


def _applies(manifest: Manifest, head: Head, predicted: Predicted, scored: Scored) -> NDArray[np.float64]:
    """p(applies) of the scored photos, `[n]`; 1 if the head applies to every photo."""
    found = predicted.predictions.applicability
    if not head.domain or found is None or scored.rows is None:
        return np.ones(len(scored.targets))
    return found[head.domain][scored.rows].astype(np.float64)


def _right_offers(manifest: Manifest, head: Head, scored: Scored, applies: NDArray[np.float64]) -> tuple[int, int]:
    """How many right first labels can be offered at the precision of what is offered: with p(applies), `[n]`, and by
    the head's probabilities without it. (0, 0) if nothing is offered."""
    said, right = scored.predictions.probabilities[:, 0].astype(np.float64), scored.correct[:, 0]
    offered = scored.predictions.offered[:, 0]
    if not offered.any():
        return 0, 0
    precision = float(right[offered].mean())
    known = manifest.applicability.domains if manifest.applicability else []
    least = next((d.threshold for d in known if d.id == head.domain), 0.0)
    counts = most_right(np.where(applies >= least, said, 0.0), right, precision)
    return counts, most_right(_without_gate(head, scored, applies), right, precision)


def most_right(said: NDArray[np.float64], right: NDArray[np.bool_], precision: float) -> int:
    """How many are right at the lowest threshold above 0 whose offers have the precision. `said` and `right` are
    `[n]`."""
    order = np.argsort(-said, kind="stable")
    ranked, hits = said[order], np.cumsum(right[order])
    last = np.append(ranked[1:] != ranked[:-1], True) & (ranked > 0)
    good = np.flatnonzero(last & (hits / np.arange(1, len(ranked) + 1) >= precision - 1e-9))
    return int(hits[good[-1]]) if len(good) else 0


def _without_gate(head: Head, scored: Scored, applies: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first labels' probabilities `[n]` if the head were sure that it applies: from the calibrated probability back
    to the raw one, divided by p(applies), and calibrated again."""
    said, labels = scored.predictions.probabilities[:, 0].astype(np.float64), scored.predictions.labels[:, 0]
    found = np.empty(len(said))
    for label in head.labels:
        mine = labels == label.index
        table = head.class_calibration.get(label.id, head.calibration)
        raw = said[mine] if table is None else np.interp(said[mine], table.y, table.x)
        alone = np.minimum(raw / np.maximum(applies[mine], 1e-6), 1.0)
        found[mine] = alone if table is None else np.interp(alone, table.x, table.y)
    return found


def _lost(counts: tuple[int, int]) -> float | None:
    """The share of right first labels that p(applies) costs, from their number with and without it."""
    return max(0.0, 1 - counts[0] / counts[1]) if counts[1] else None
