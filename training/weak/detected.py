"""The boxes of unlabelled photos by a detector: the first step of weak supervision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.detection import Detector, chosen
from engines.pixels import Box, decode
from schemas.boxes import DetectPlan
from schemas.errors import Invalid
from schemas.manifest import Preprocess
from training.readers import read_photo
from training.weak.boxes import Boxes
from training.weak.embeddings import chunks


def detect_boxes(
    detector: Detector,
    photos: Path,
    paths: Sequence[str],
    *,
    padding: float,
    threshold: float,
    most_boxes: int,
    progress: Callable[[int, int], None] | None = None,
) -> Boxes:
    """The boxes of each photo, padded, the most confident first. A photo without a box, or one that cannot be decoded,
    is not listed: it is looked at as a whole, and the labelling counts it as unreadable.

    Args:
        detector: of a bundle.
        photos: the folder of the photos.
        paths: of the photos, relative to the folder.
        padding: how much wider a box is made on each side, as a share of the box.
        threshold: the least confidence of a box, 0 to 1.
        most_boxes: the most boxes of one photo.
        progress: called with the photos done and the photos in all.
    """
    plan = DetectPlan(
        mode="all",
        detector_id=detector.detector_id,
        padding=padding,
        threshold=threshold,
        most_boxes=most_boxes,
    )
    boxes: dict[str, list[Box]] = {}
    done = 0
    with ThreadPoolExecutor(2) as pool:
        for some in chunks(paths, detector.max_batch):
            pixels = list(pool.map(lambda path: _decoded(photos, path, detector.preprocess), some))
            good = [(path, one) for path, one in zip(some, pixels, strict=True) if one is not None]
            found = detector.detect(np.stack([one for _, one in good])) if good else []
            for (path, _), detections in zip(good, found, strict=True):
                if taken := chosen(detections, plan):
                    boxes[path] = [one.box for one in taken]
            done += len(some)
            if progress is not None:
                progress(done, len(paths))
    return boxes


def _decoded(folder: Path, path: str, preprocess: Preprocess) -> NDArray[np.uint8] | None:
    try:
        return decode(read_photo(folder, path), preprocess)
    except (Invalid, OSError):
        return None
