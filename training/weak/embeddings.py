"""Embeddings of photos, one batch at a time so that memory does not grow with their number, and nearest neighbours."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.pixels import decode
from engines.recognition import RecognitionEngine
from engines.recognition.bisect import run_halving
from schemas.errors import Invalid
from schemas.manifest import Preprocess
from training.readers import read_photo
from training.readers.label_table import Row, box_of

Floats = NDArray[np.float32]
Item = TypeVar("Item")
BATCH = 16
COMPARED = 256  # rows of the distance matrix at a time, which take 1 KB for each labelled photo


@dataclass(frozen=True, eq=False)
class Seen:
    """A row, the sha256 of its photo's bytes, and its embedding `float32 [d]` and hash `uint8 [bytes]`, or the `error`
    why there is none."""

    row: Row
    digest: bytes
    embedding: Floats | None
    error: str = ""
    code: NDArray[np.uint8] | None = None


def embed(engine: RecognitionEngine, folder: Path, rows: Iterable[Row]) -> Iterator[Seen]:
    """Every row in order. A photo that cannot be read, decoded or embedded has none."""
    preprocess, size = engine.manifest.preprocess, min(BATCH, engine.max_batch)
    with ThreadPoolExecutor(2) as pool:
        for some in chunks(rows, size):
            photos = list(pool.map(lambda row: _decoded(folder, row, preprocess), some))
            good = [pixels for _, pixels in photos if not isinstance(pixels, str)]
            found = iter(run_halving(good, partial(_answers, engine), alone=_to_blame))
            for row, (digest, pixels) in zip(some, photos, strict=True):
                answer = pixels if isinstance(pixels, str) else next(found)
                if isinstance(answer, str):
                    yield Seen(row, digest, None, answer)
                elif isinstance(answer, Invalid):
                    yield Seen(row, digest, None, f"cannot be embedded: {answer.error}")
                else:
                    vector, code = answer
                    yield Seen(row, digest, vector, code=code)


def _answers(engine: RecognitionEngine, photos: Sequence[NDArray[np.uint8]]) -> list[tuple[Floats, NDArray[np.uint8]]]:
    answers = engine.infer(np.stack(photos))
    return list(zip(answers.embedding, answers.hash, strict=True))


def _to_blame(photo: NDArray[np.uint8], error: Exception) -> Invalid:
    return error if isinstance(error, Invalid) else Invalid("engine", "failed", str(error))


def _decoded(folder: Path, row: Row, preprocess: Preprocess) -> tuple[bytes, NDArray[np.uint8] | str]:
    digest = b""
    try:
        data = read_photo(folder, row["path"])
        digest = sha256(data)
        return digest, decode(data, preprocess, box=box_of(row))
    except Invalid as error:
        return digest, f"cannot be decoded: {error.error}"
    except OSError as error:
        return digest, f"cannot be read: {error.strerror or error}"


def sha256(data: bytes) -> bytes:
    """The sha256 of a file's bytes."""
    return hashlib.sha256(data).digest()


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """`items` in lists of `size`, the last one shorter."""
    left = iter(items)
    while some := list(islice(left, size)):
        yield some


def nearest(queries: Floats, gallery: Floats) -> tuple[NDArray[np.int64], Floats]:
    """The nearest row of `gallery [m, d]` for each row of `queries [n, d]`, all of unit length.

    Returns:
        Places `int64 [n]`, of equals the first, and squared L2 distances `float32 [n]` = 2 − 2 cos, from 0 to 4.
    """
    cosine = queries @ gallery.T
    places = cosine.argmax(1)
    best = cosine[np.arange(len(queries)), places]
    return places.astype(np.int64), np.maximum(2 - 2 * best, 0).astype(np.float32)
