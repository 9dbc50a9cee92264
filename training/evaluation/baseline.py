"""Measures the baseline of a bundle: how its answers are spread over labelled or unlabelled photos of some folders."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from engines.recognition import Predictions, build_engine
from engines.recognition.drift import baseline_of
from schemas.baseline import Baseline
from schemas.errors import ConfigError
from training.evaluation.evaluate import ALL
from training.evaluation.folder import Progress, predict
from training.evaluation.mix import evenly
from training.readers import read
from training.readers.label_table import Row, is_catalogue

log = logging.getLogger(__name__)
FEW = 300
"""With fewer photos than this the baseline itself is too uncertain: its sampling error alone adds about 0.04 to the
PSI."""


def measure_baseline(
    bundle: Path,
    sets: Mapping[str, Path],
    *,
    split: str = "val",
    reader: str = "csv",
    most: int = 1000,
    progress: Progress | None = None,
) -> Baseline:
    """Run photos through the bundle's float engine and return the baseline. Each set has the same weight.

    Args:
        bundle: the bundle's folder.
        sets: folders by name.
        split: of the photos, or `all`. Catalogue photos are left out unless it is `all`.
        reader: the layout of every folder.
        most: at most so many photos of each set, the same ones each time.
        progress: called with the photos done and in all, over all sets.

    Raises:
        BundleRefused: the bundle fails its checks.
        ConfigError: a folder cannot be read, or has no photo of the split.
    """
    rows = {name: evenly(_of_split(read(reader, folder).rows, split, folder), most) for name, folder in sets.items()}
    total, done = sum(map(len, rows.values())), 0
    engine = build_engine(bundle)
    found: dict[str, Predictions] = {}
    try:
        for name, some in rows.items():
            before = done

            def report(n: int, _: int, before: int = before) -> None:
                if progress is not None:
                    progress(before + n, total)

            found[name] = predict(engine, sets[name], some, report).predictions
            done += len(some)
        made = baseline_of(engine.manifest, found)
    finally:
        engine.close()
    if sum(made.photos.values()) < FEW:
        log.warning("the baseline has only %d photos; use at least %d", sum(made.photos.values()), FEW)
    return made


def _of_split(rows: list[Row], split: str, folder: Path) -> list[Row]:
    chosen = rows if split == ALL else [row for row in rows if row["split"] == split and not is_catalogue(row)]
    if not chosen:
        there = ", ".join(sorted({row["split"] for row in rows}))
        raise ConfigError(f"split: no photo of {folder} has {split!r}; use one of {there}, or {ALL}")
    return chosen
