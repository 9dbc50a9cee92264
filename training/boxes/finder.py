"""What finds boxes in many photos: a detector of this process, or workers of which each opens the detector.

Batches are cut in the same way whatever computes them. So the labels are the same with any number of workers and with
either engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.detection import Detector, open_detector
from engines.pixels import decode
from schemas.detector_manifest import load_detector_manifest
from schemas.errors import Invalid
from schemas.manifest import Preprocess
from training.boxes.labels import LEAST_SCORE, Find, Guess, Label
from training.bulk import Engine, bulk_map
from training.readers import read_photo

BATCH = 16
PART = 4 * BATCH  # photos that a worker takes at once, some seconds of one core


@dataclass(frozen=True)
class BoxFinder:
    """What finds boxes.

    Attributes:
        detector_id: of the detector.
        find: the folder of the photos, and their paths → the labels of all of them in this order, some at a time.
    """

    detector_id: str
    find: Find


def in_this_process(detector: Detector) -> BoxFinder:
    """Finds with a detector that is open."""
    return BoxFinder(detector.detector_id, partial(find, detector))


def by_workers(folder: Path, workers: int, engine: Engine) -> BoxFinder:
    """Finds on workers, each of which opens the detector in `folder` with one thread.

    Raises:
        BundleRefused: there is no detector in `folder`. One that fails its checks is refused by `find`.
    """
    look = partial(_find_by_workers, folder.absolute(), workers, engine)
    return BoxFinder(load_detector_manifest(folder).detector_id, look)


def find(detector: Detector, root: Path, paths: Sequence[str]) -> Iterator[list[Label]]:
    """What a detector finds in photos below `root`: one label for each path, in order, a batch at a time. A photo that
    cannot be read or decoded has a label with the reason."""
    size = min(BATCH, detector.max_batch)
    batches = [paths[start : start + size] for start in range(0, len(paths), size)]
    with ThreadPoolExecutor(2) as pool:
        for batch, photos in zip(batches, _ahead(pool, root, batches, detector.preprocess), strict=True):
            good = [pixels for pixels in photos if not isinstance(pixels, str)]
            answers = iter(detector.detect(np.stack(good)) if good else [])
            labels = []
            for path, pixels in zip(batch, photos, strict=True):
                if isinstance(pixels, str):
                    labels.append(Label(path=path, error=pixels))
                    continue
                boxes = [
                    Guess(box=(d.box.left, d.box.top, d.box.right, d.box.bottom), kind=d.kind, score=round(d.score, 4))
                    for d in next(answers)
                    if d.score >= LEAST_SCORE
                ]
                labels.append(Label(path=path, guesses=tuple(boxes)))
            yield labels


def find_part(paths: Sequence[str], *, folder: Path, root: Path) -> list[Label]:
    """What the detector in `folder` finds in some photos below `root`. It may run in any process."""
    return [label for some in find(_detector(folder), root, paths) for label in some]


def _find_by_workers(
    folder: Path, workers: int, engine: Engine, root: Path, paths: Sequence[str]
) -> Iterator[list[Label]]:
    parts = (paths[start : start + PART] for start in range(0, len(paths), PART))
    work = partial(find_part, folder=folder, root=root.absolute())
    return bulk_map(work, parts, workers=workers, engine=engine)


@lru_cache(maxsize=1)
def _detector(folder: Path) -> Detector:
    """The detector of this process, with one thread: the workers are what runs side by side."""
    return open_detector(folder, threads=1)


def _ahead(
    pool: ThreadPoolExecutor, root: Path, batches: Iterable[Sequence[str]], preprocess: Preprocess
) -> Iterator[list[NDArray[np.uint8] | str]]:
    """The photos of each batch; the next batch is decoded while the detector computes this one."""
    waiting = None
    for batch in batches:
        begun = [pool.submit(_decoded, root, path, preprocess) for path in batch]
        if waiting is not None:
            yield [one.result() for one in waiting]
        waiting = begun
    if waiting is not None:
        yield [one.result() for one in waiting]


def _decoded(root: Path, path: str, preprocess: Preprocess) -> NDArray[np.uint8] | str:
    """The pixels uint8 [height, width, 3], or why there are none."""
    try:
        return decode(read_photo(root, path), preprocess)
    except Invalid as error:
        return f"cannot be decoded: {error.error}"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
