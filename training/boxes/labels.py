"""Runs a detector over photos, and keeps what it found: one line a photo, in a file of this detector alone.

A photo that is in the file is not computed again, so that a run that was stopped goes on. A photo that cannot be read
or decoded has a line with the reason; it delays nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from engines.detection import Detector
from engines.pixels import decode
from schemas.errors import ConfigError, Invalid
from schemas.manifest import Preprocess
from training.readers import read_photo

BATCH = 16
LEAST_SCORE = 0.05  # boxes below it are noise, and would fill the file
Progress = Callable[[int, int], None]


class Guess(msgspec.Struct, frozen=True, array_like=True):
    """A box that a detector found: left, top, right, bottom in shares, its kind, and its score from 0 to 1."""

    box: tuple[float, float, float, float]
    kind: str
    score: float


class Label(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a detector found in one photo, or why it could not look."""

    path: str
    guesses: tuple[Guess, ...] = ()
    error: str = ""


def read_labels(file: Path) -> dict[str, Label]:
    """Path → what the detector found. A last line that a crash has cut is left out.

    Raises:
        ConfigError: a line is damaged; the message names file and line.
    """
    if not file.exists():
        return {}
    decode_line = msgspec.json.Decoder(Label).decode
    labels = {}
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                break
            try:
                label = decode_line(line)
            except msgspec.MsgspecError as error:
                raise ConfigError(f"labels: {file}:{number}: {error}; remove the file, and label again") from None
            labels[label.path] = label
    return labels


def label(
    detector: Detector, root: Path, paths: Sequence[str], file: Path, progress: Progress | None = None
) -> dict[str, Label]:
    """Run the detector over the photos that the file lacks, and return what it found in all of `paths`.

    Args:
        detector: ready to use.
        root: folder of the photos.
        paths: of the photos, below `root`.
        file: of this detector's answers; it grows by one batch at a time.
        progress: called with the photos done and the photos in all.

    Raises:
        ConfigError: the file is damaged.
        OSError: it cannot be written.
    """
    labels = read_labels(file)
    left = [path for path in paths if path not in labels]
    file.parent.mkdir(parents=True, exist_ok=True)
    encode = msgspec.json.Encoder().encode
    _cut_to_whole_lines(file)
    done = len(paths) - len(left)
    with file.open("ab") as out:
        for some in _found(detector, root, left):
            out.writelines(encode(one) + b"\n" for one in some)
            out.flush()
            labels.update((one.path, one) for one in some)
            done += len(some)
            if progress is not None:
                progress(done, len(paths))
    return {path: labels[path] for path in paths}


def _found(detector: Detector, root: Path, paths: Sequence[str]) -> Iterator[list[Label]]:
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


def _cut_to_whole_lines(file: Path) -> None:
    """Remove a last line that a crash has cut, so that the next one begins where it should."""
    if file.exists():
        data = file.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            with file.open("r+b") as opened:
                opened.truncate(whole)
