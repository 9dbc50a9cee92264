"""A folder of photos through an engine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.pixels import decode
from engines.recognition import Predictions, RecognitionEngine
from schemas.errors import ConfigError, Invalid
from schemas.manifest import Manifest, Preprocess
from training.readers import read_photo
from training.table import Row, box_of

log = logging.getLogger(__name__)
BATCH = 16
Progress = Callable[[int, int], None]  # photos done, photos in all


@dataclass(frozen=True)
class Predicted:
    """What the engine said about the rows that could be decoded; `skipped` names the others."""

    manifest: Manifest
    rows: list[Row]
    predictions: Predictions
    skipped: list[str]


def predict(
    engine: RecognitionEngine, folder: Path, rows: Sequence[Row], progress: Progress | None = None
) -> Predicted:
    """Decode `folder / row["path"]` as the manifest says and infer; undecodable files are counted, never fatal.

    Raises ConfigError when not one photo could be decoded.
    """
    preprocess, batch = engine.manifest.preprocess, min(BATCH, engine.max_batch)
    kept: list[Row] = []
    skipped: list[str] = []
    parts: list[Predictions] = []
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(rows), batch):
            some = rows[start : start + batch]
            pixels = list(pool.map(lambda row: _decode(folder, row, preprocess), some))
            good = [(row, photo) for row, photo in zip(some, pixels, strict=True) if photo is not None]
            skipped += [row["path"] for row, photo in zip(some, pixels, strict=True) if photo is None]
            if good:
                kept += [row for row, _ in good]
                parts.append(engine.infer(np.stack([photo for _, photo in good])))
            if progress is not None:
                progress(start + len(some), len(rows))
    if not parts:
        raise ConfigError(f"data: no photo of {folder} could be decoded; column `path` is relative to the folder")
    for path in skipped:
        log.warning("skipped %s: cannot be decoded", path)
    return Predicted(engine.manifest, kept, Predictions.concat(parts), skipped)


def _decode(folder: Path, row: Row, preprocess: Preprocess) -> NDArray[np.uint8] | None:
    try:
        return decode(read_photo(folder, row["path"]), preprocess, box=box_of(row))
    except (Invalid, OSError):
        return None
