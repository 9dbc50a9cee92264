"""Run a folder of photos through an engine."""

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
from training.readers.label_table import Row, box_of

log = logging.getLogger(__name__)
BATCH = 16
MISSING = "missing"
Progress = Callable[[int, int], None]  # photos done, photos in all


@dataclass(frozen=True)
class Predicted:
    """Predictions for a folder's photos.

    Attributes:
        manifest: of the bundle.
        rows: of the photos that could be decoded.
        predictions: of these rows, in this order.
        skipped: the paths of the other photos with the reason: `missing`, or the decoder's error.
    """

    manifest: Manifest
    rows: list[Row]
    predictions: Predictions
    skipped: list[tuple[str, str]]


def predict(
    engine: RecognitionEngine, folder: Path, rows: Sequence[Row], progress: Progress | None = None
) -> Predicted:
    """Decode every `folder / row["path"]` as the manifest says, and infer. Photos that cannot be decoded are counted.

    Raises:
        ConfigError: no photo could be decoded.
    """
    preprocess, batch = engine.manifest.preprocess, min(BATCH, engine.max_batch)
    kept: list[Row] = []
    skipped: list[tuple[str, str]] = []
    parts: list[Predictions] = []
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(rows), batch):
            some = rows[start : start + batch]
            pixels = list(pool.map(lambda row: decode_row(folder, row, preprocess), some))
            skipped += [(r["path"], photo) for r, photo in zip(some, pixels, strict=True) if isinstance(photo, str)]
            good = [(row, photo) for row, photo in zip(some, pixels, strict=True) if not isinstance(photo, str)]
            if good:
                kept += [row for row, _ in good]
                parts.append(engine.infer(np.stack([photo for _, photo in good])))
            if progress is not None:
                progress(start + len(some), len(rows))
    if not parts:
        raise ConfigError(f"data: no photo of {folder} could be decoded; column `path` is relative to the folder")
    for path, reason in skipped:
        log.warning("skipped %s: %s", path, reason)
    return Predicted(engine.manifest, kept, Predictions.concat(parts), skipped)


def decode_row(folder: Path, row: Row, preprocess: Preprocess) -> NDArray[np.uint8] | str:
    """The photo `uint8 [height, width, 3]`, or why there is none."""
    try:
        return decode(read_photo(folder, row["path"]), preprocess, box=box_of(row))
    except FileNotFoundError:
        return MISSING
    except Invalid as error:
        return error.error
    except OSError as error:
        return error.strerror or str(error)
