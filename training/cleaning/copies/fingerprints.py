"""What de-duplication knows of each photo: digest, small grey picture, hash, and measures of quality.

A fingerprint has a fixed size and lies in one file, in the order of the photos, next to a file with their names. Both
only grow, so a run that was interrupted goes on where it ended, and a reader maps parts of the file and keeps nothing.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from engines.pixels import decode
from schemas.errors import ConfigError, Invalid
from schemas.manifest import Preprocess
from training.bulk import Engine, bulk_map
from training.cleaning.copies.alignment import SIDE
from training.cleaning.copies.hashes import Greys
from training.readers import read_photo

Progress = Callable[[int, int], None]
"""Called with the photos done and the photos in all."""
LOOKED_AT = 128  # pixels a side of the picture that quality is measured on; the whole photo is squashed into it
FINGERPRINT = np.dtype(
    [
        ("sha256", "u1", 32),
        ("small", "u1", (SIDE, SIDE)),  # grey, the whole photo
        ("width", "u4"),
        ("height", "u4"),
        ("bytes", "u8"),
        ("sharpness", "f4"),  # mean squared Laplacian of LOOKED_AT pixels a side, without its strongest tenth
        ("compression", "f4"),  # mean quantiser of a JPEG's luma; 1 for formats without loss
        ("overlay", "f4"),  # share of border and of thin bright or dark strokes
        ("readable", "u1"),
        ("flat", "u1"),  # whether the photo has one colour all over
        ("colour", "u1", 3),  # that colour, red, green and blue
        ("layout", "u4"),  # _LAYOUT
    ]
)
_LAYOUT = 0x6D20_0002  # of FINGERPRINT; changes with it, so that files of an earlier layout are known
_RECORDS, _NAMES = "fingerprints.bin", "fingerprints.jsonl"
_PREPROCESS = Preprocess(mode="squash", width=LOOKED_AT, height=LOOKED_AT)
_UNKNOWN_COMPRESSION = 8.0  # of WebP, AVIF and HEIC, whose headers do not say: that of a JPEG of quality 90
_TRIMMED = 0.9  # the strongest tenth may be the letters of a watermark
_STROKE = 60  # grey levels by which a stroke stands out of what is around it
_AROUND = np.arange(-2, LOOKED_AT + 2).clip(0, LOOKED_AT - 1)
_PART = 64  # photos that a worker takes at once, 0.1 to 1 s of work
_READ = 4096  # fingerprints that are mapped at once: 5 MB
_BORDER_RANGE = 12  # grey levels within a row or column of a border, after JPEG
_FLAT_RANGE = 8  # levels of each channel within a photo of one colour


class Name(msgspec.Struct, frozen=True, omit_defaults=True):
    """The photo of a fingerprint, and why it could not be read if it could not."""

    path: str
    error: str = ""


class Fingerprints:
    """The fingerprints of a list of photos, numbered as in the list.

    Nothing is kept in memory: each call maps the file, copies what is asked for, and lets go of it.
    """

    def __init__(self, folder: Path) -> None:
        """What is complete in `folder`. Fingerprints of an earlier layout count as none."""
        self.folder = folder
        self._records, self._names = folder / _RECORDS, folder / _NAMES
        size = self._records.stat().st_size // FINGERPRINT.itemsize if self._records.is_file() else 0
        self._count = min(size, sum(1 for _ in _names(self._names)))
        if self._count and int(self.take([0])["layout"][0]) != _LAYOUT:
            self._count = 0  # an earlier version wrote them

    def __len__(self) -> int:
        return self._count

    def column(self, field: str) -> NDArray[Any]:
        """One field of FINGERPRINT of all photos."""
        starts = range(0, self._count, _READ)
        parts = [self._map()[start : start + _READ][field].copy() for start in starts]
        return np.concatenate(parts) if parts else np.empty(0, FINGERPRINT)[field]

    def digests(self) -> NDArray[np.uint64]:
        """The first 8 bytes of the sha256 of all photos, uint64 [n]."""
        made = np.empty(self._count, np.uint64)
        for start in range(0, self._count, _READ):
            some = np.ascontiguousarray(self._map()[start : start + _READ]["sha256"][:, :8])
            made[start : start + _READ] = some.view(np.uint64).ravel()
        return made

    def take(self, places: Sequence[int] | NDArray[np.int64]) -> NDArray[np.void]:
        """The whole fingerprints of some photos, structured array [n]."""
        return np.asarray(self._map()[np.asarray(places, np.int64)])

    def values(self, field: str, places: NDArray[np.int64]) -> NDArray[Any]:
        """One field of FINGERPRINT of some photos."""
        return np.asarray(self._map()[field][places])

    def small(self, places: NDArray[np.int64]) -> Greys:
        """The small grey pictures of some photos, uint8 [n, 32, 32]."""
        return np.asarray(self._map()["small"][places])

    def names(self) -> Iterator[Name]:
        """The photos in order, with the error of those that could not be read."""
        return islice(_names(self._names), self._count)

    def _map(self) -> NDArray[np.void]:
        if not self._count:
            return np.empty(0, FINGERPRINT)
        return np.memmap(self._records, FINGERPRINT, "r", shape=(self._count,))


def take_fingerprints(
    folder: Path,
    paths: Sequence[str],
    work: Path,
    *,
    workers: int = 1,
    engine: Engine = "pool",
    progress: Progress | None = None,
) -> Fingerprints:
    """The fingerprints of `paths` below `folder`, of which those in `work` are not taken again.

    Args:
        folder: of the photos.
        paths: of the photos, as `read_photo` takes them.
        work: folder for the two files; made if it is missing.
        workers: processes. 1 works in this process, where nothing protects against a photo that kills it.
        engine: what runs the workers.
        progress: called with the photos done and the photos in all.

    Raises:
        ConfigError: `work` has fingerprints of other photos.
    """
    work.mkdir(parents=True, exist_ok=True)
    done = Fingerprints(work)
    others = any(name.path != path for name, path in zip(done.names(), paths, strict=False))
    if others or len(done) > len(paths):
        files = f"{_RECORDS} and {_NAMES}"
        raise ConfigError(f"{work}: it has fingerprints of other photos; name another folder, or delete its {files}")
    count = len(done)
    _cut(work, count)
    with (work / _RECORDS).open("ab") as records, (work / _NAMES).open("ab") as names:
        for record, name in _taken(folder, paths, count, workers, engine):
            records.write(record)
            names.write(msgspec.json.encode(name) + b"\n")
            count += 1
            if progress is not None:
                progress(count, len(paths))
    return Fingerprints(work)


def _cut(work: Path, count: int) -> None:
    """Leave `count` whole fingerprints in the files: a killed run wrote one file further than the other."""
    for file, size in ((_RECORDS, count * FINGERPRINT.itemsize), (_NAMES, _length(work / _NAMES, count))):
        with (work / file).open("ab") as opened:
            opened.truncate(size)


def _length(file: Path, lines: int) -> int:
    if not file.is_file():
        return 0
    with file.open("rb") as opened:
        return sum(len(line) for _, line in zip(range(lines), opened, strict=False))


def _names(file: Path) -> Iterator[Name]:
    if not file.is_file():
        return
    decoder = msgspec.json.Decoder(Name)
    with file.open("rb") as opened:
        for line in opened:
            if line.endswith(b"\n"):
                yield decoder.decode(line)


def _taken(folder: Path, paths: Sequence[str], done: int, workers: int, engine: Engine) -> Iterator[tuple[bytes, Name]]:
    """The fingerprint of each photo after the first `done`, in order. A photo that kills its worker each time costs
    nobody else."""
    work = partial(_take_part, folder.absolute())
    if workers == 1 and engine == "pool":
        for start in range(done, len(paths), _PART):
            yield from (_take(folder, path) for path in paths[start : start + _PART])
        return
    while done < len(paths):
        parts = (paths[start : start + _PART] for start in range(done, len(paths), _PART))
        try:
            for made in bulk_map(work, parts, workers=workers, engine=engine):
                yield from made
                done += len(made)
        except ConfigError:  # a part killed its worker each time: find out which photo it is
            some = paths[done : done + _PART]
            for path in some:
                yield _alone(work, path)
            done += len(some)


def _alone(work: Callable[[Sequence[str]], list[tuple[bytes, Name]]], path: str) -> tuple[bytes, Name]:
    """The fingerprint of one photo, taken in a process of its own."""
    try:
        return next(iter(bulk_map(work, [[path]], workers=1)))[0]
    except ConfigError:
        return _empty().tobytes(), Name(path, "the process that decoded it died")


def _take_part(folder: Path, paths: Sequence[str]) -> list[tuple[bytes, Name]]:
    return [_take(folder, path) for path in paths]


def _take(folder: Path, path: str) -> tuple[bytes, Name]:
    """One fingerprint as bytes; with an error, its digest alone, or nothing."""
    record = _empty()
    try:
        data = read_photo(folder, path)
        record["sha256"] = np.frombuffer(hashlib.sha256(data).digest(), np.uint8)
        record["bytes"] = len(data)
        pixels = decode(data, _PREPROCESS)
    except Invalid as error:
        return record.tobytes(), Name(path, f"cannot be decoded: {error.error}")
    except (OSError, ValueError) as error:  # a name that no file can have is a ValueError
        return record.tobytes(), Name(path, f"cannot be read: {getattr(error, 'strerror', None) or error}")
    grey = Image.fromarray(pixels).convert("L")
    record["small"] = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX))
    record["width"], record["height"], record["compression"] = _header(data)
    record["sharpness"] = _sharpness(np.asarray(grey))
    record["overlay"] = _overlay(grey)
    if np.ptp(record["small"]) <= _FLAT_RANGE and (np.ptp(pixels, axis=(0, 1)) <= _FLAT_RANGE).all():
        record["flat"], record["colour"] = 1, np.rint(pixels.mean((0, 1)))
    record["readable"] = 1
    return record.tobytes(), Name(path)


def _empty() -> NDArray[np.void]:
    record = np.zeros(1, FINGERPRINT)
    record["layout"] = _LAYOUT
    return record


def _header(data: bytes) -> tuple[int, int, float]:
    """Width and height in pixels as stored, and the compression."""
    with Image.open(io.BytesIO(data)) as image:
        if not isinstance(image, JpegImageFile):
            return *image.size, 1.0 if image.format == "PNG" else _UNKNOWN_COMPRESSION
        tables: Iterable[Sequence[int]] = getattr(image, "quantization", {}).values()
        first = next(iter(tables), None)
        return *image.size, float(np.mean(first)) if first is not None else _UNKNOWN_COMPRESSION


def _sharpness(grey: NDArray[np.uint8]) -> float:
    whole = grey.astype(np.int16)
    middle = whole[1:-1, 1:-1]
    laplacian = whole[:-2, 1:-1] + whole[2:, 1:-1] + whole[1:-1, :-2] + whole[1:-1, 2:] - 4 * middle
    counts = np.bincount(np.abs(laplacian).ravel())  # 0 to 1020, so counting is faster than ordering
    upto = np.cumsum(counts)
    strongest = int(np.searchsorted(upto, int(_TRIMMED * (upto[-1] - 1)), side="right"))
    return float(counts[: strongest + 1] @ np.square(np.arange(strongest + 1)) / upto[strongest])


def _overlay(grey: Image.Image) -> float:
    """The share of the picture that is a plain border, plus the share of thin strokes like those of a watermark: what
    an opening or a closing by 5 x 5 pixels takes away."""
    pixels = np.asarray(grey)
    rows, columns = np.ptp(pixels, axis=1) <= _BORDER_RANGE, np.ptp(pixels, axis=0) <= _BORDER_RANGE
    border = sum(_run(line) for line in (rows, rows[::-1], columns, columns[::-1])) / len(rows)
    opened = _extreme(_extreme(pixels, np.minimum), np.maximum)
    closed = _extreme(_extreme(pixels, np.maximum), np.minimum)
    strokes = (pixels - opened > _STROKE) | (closed - pixels > _STROKE)  # an opening is never brighter: no underflow
    return float(min(1.0, border) + strokes.mean())


def _extreme(pixels: NDArray[np.uint8], extreme: np.ufunc) -> NDArray[np.uint8]:
    """The least or largest value of 5 x 5 pixels around each one. It takes 0.02 ms; SciPy's filter takes 0.23 ms, and
    Pillow's sorts all 25 values."""
    for _ in range(2):
        of_5 = pixels.take(_AROUND, axis=0)  # the lines beyond a side repeat it
        of_2 = extreme(of_5[:-1], of_5[1:])
        of_4 = extreme(of_2[:-2], of_2[2:])
        pixels = np.ascontiguousarray(extreme(of_4[:-1], of_5[4:]).T)
    return pixels


def _run(plain: NDArray[np.bool_]) -> int:
    """How many lines from the first on are plain; 0 where all are, because that is a plain photo without a border."""
    other = np.flatnonzero(~plain)
    return int(other[0]) if len(other) else 0
