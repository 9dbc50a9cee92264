"""De-duplicate many studio thumbnails: processor time of each step, and the memory that it takes, at three sizes.

    python -m benchmarks.cleaning.dedup_million --photos 20000 --work WORK
    python -m benchmarks.cleaning.dedup_million --photos 1000000 --work WORK      # the whole measurement

Thumbnails are 64 pixels wide, in tar shards of 10,000. The studio draws --drawn of them. The others are made of these
by mirrors, cuts of a third and changed colours, which are other pictures to a de-duplication; 30 % are near-duplicates
as benchmarks/cleaning/cleaning_planted.toml has them. Drawing and packing are not part of the measured time.

Each size is measured in a process of its own: a 16th of the photos, a 4th and all. Fingerprints of a
smaller size are not taken again. A size that is measured is kept in WORK, so a run that was stopped goes on. Times are
processor seconds of one core, because other work may share the machine.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import random
import resource
import tarfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image, ImageOps

from benchmarks.cleaning.near_duplicates import copy_of, planted, saved
from benchmarks.report import parser, write_result
from training.cleaning.copies.duplicates import DuplicateSettings, duplicate_marks
from training.cleaning.copies.fingerprints import Fingerprints, take_fingerprints
from training.cleaning.marks import Marks
from training.readers.label_table import Row
from training.studio import TEST_IDENTITIES, make_product, render

SIDE = 64
PER_SHARD = 10_000
ORIGINS = "origins.txt"


def _variants(drawn: list[Image.Image], count: int, draw: random.Random) -> Iterator[tuple[str, bytes]]:
    """`count` thumbnails: (name of the original, JPEG bytes). A near-duplicate has the name of its original."""
    plan = planted()
    recent: list[tuple[str, Image.Image]] = []
    for number in range(count):
        if recent and draw.random() < plan["near_duplicates"]:
            name, picture = recent.pop(draw.randrange(len(recent)))
            change = draw.choice(sorted(plan["transformations"]))
            yield name, copy_of(picture, change, draw.choice(plan["transformations"][change]))
            continue
        name, picture = f"o{number:07d}", _other(draw.choice(drawn), draw)
        recent.append((name, picture))
        if len(recent) > 1000:
            recent.pop(0)
        yield name, saved(picture)


def _other(picture: Image.Image, draw: random.Random) -> Image.Image:
    """Another picture: perhaps mirrored, cut by a third somewhere, with other colours and a patch of its own."""
    if draw.random() < 0.5:
        picture = ImageOps.mirror(picture)
    width, height = (round(side * draw.uniform(0.55, 0.7)) for side in picture.size)
    left, top = draw.randrange(picture.width - width), draw.randrange(picture.height - height)
    picture = picture.crop((left, top, left + width, top + height)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pixels = np.asarray(picture, np.float32)
    rng = np.random.default_rng(draw.randrange(2**32))
    field = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((SIDE, SIDE))
    mixed = pixels[..., rng.permutation(3)] * 0.6 + np.asarray(field, np.float32) * 0.4
    return Image.fromarray(mixed.astype(np.uint8))


class Rows(Sequence[Row]):
    """The rows of the photos, made when they are asked for, so that the memory is that of the de-duplication."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(self._count))]
        if place >= self._count:
            raise IndexError(place)
        return {"path": _path(place), "split": "train"}


class Paths(Sequence[str]):
    """The paths of the photos, made when they are asked for."""

    def __init__(self, numbers: range) -> None:
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        return Paths(self._numbers[place]) if isinstance(place, slice) else _path(self._numbers[place])


def _path(number: int) -> str:
    return f"train-{number // PER_SHARD:04d}.tar/{number:07d}.jpg"


def pack(work: Path, count: int, drawn: int) -> None:
    """Write the shards, and the name of the original of each photo, unless they are there."""
    folder = work / "shards"
    names = folder / ORIGINS
    if names.is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(3)
    pictures = [
        Image.fromarray(render(make_product(TEST_IDENTITIES[5000 + i]), i % 5, size=(96, 96)).pixels)
        for i in range(drawn)
    ]
    made = enumerate(_variants(pictures, count, draw))
    with names.with_suffix(".part").open("w") as origins:
        for shard in range(-(-count // PER_SHARD)):
            with tarfile.open(folder / f"train-{shard:04d}.tar", "w") as tar:
                for number, (origin, data) in islice(made, PER_SHARD):
                    member = tarfile.TarInfo(f"{number:07d}.jpg")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
                    origins.write(origin + "\n")
    names.with_suffix(".part").replace(names)


def _cpu_s() -> float:
    """Processor seconds of this process and of its children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _peak_mb() -> float:
    """The largest memory of this process so far and of its largest child, in MiB."""
    own, child = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return (own + child) / 1024


def measure(work: Path, count: int, workers: int) -> dict[str, Any]:
    """Take the fingerprints that are missing, compare and mark the first `count` photos."""
    folder, clean = work / "shards", work / "clean"
    known = len(Fingerprints(clean))
    start_mb, begun = _peak_mb(), _cpu_s()
    prints = take_fingerprints(folder, Paths(range(count)), clean, workers=workers)
    read_s, read_mb, begun = _cpu_s() - begun, _peak_mb(), _cpu_s()
    marks = Marks(work / f"marks-{count}")
    marked = marks.write("duplicates", {}, duplicate_marks(Rows(count), prints, DuplicateSettings(), workers=workers))
    compare_s, end_mb = _cpu_s() - begun, _peak_mb()
    with (folder / ORIGINS).open() as lines:
        origin = {_path(number): line for number, line in enumerate(islice(lines, count))}
    right = sum(origin[mark.photo] == origin[mark.kept] for mark in marks.in_force("duplicates"))
    return {
        "photos": count,
        "fingerprints_taken": count - known,
        "fingerprints_cpu_s": round(read_s, 1),
        "compare_cpu_s": round(compare_s, 1),
        "compare_ms_a_photo": round(1000 * compare_s / count, 3),
        "marked": marked,
        "precision": round(right / max(1, marked), 4),
        "recall": round(right / max(1, count - len(set(origin.values()))), 4),
        "memory_mb": {"begin": round(start_mb), "fingerprints": round(read_mb), "end": round(end_mb)},
    }


def _kept(work: Path, count: int, workers: int) -> None:
    """Measure one size and keep the result; runs in a process of its own."""
    (work / f"measured-{count}.json").write_text(json.dumps(measure(work, count, workers)))


def main() -> None:
    """Pack, measure, print."""
    made = parser(__doc__, tells="result")
    made.add_argument("--photos", type=int, default=20_000, help="thumbnails (default 20,000)")
    made.add_argument("--drawn", type=int, default=300, help="pictures that the studio draws, 0.3 s each (default 300)")
    made.add_argument("--work", type=Path, required=True, help="folder for the shards; kept")
    made.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    options = made.parse_args()
    pack(options.work, options.photos, options.drawn)
    sizes, found = [options.photos // share for share in (16, 4, 1)], []
    for size in sizes:
        file = options.work / f"measured-{size}.json"
        if not file.is_file():
            process = multiprocessing.get_context("spawn").Process(
                target=_kept, args=(options.work, size, options.workers)
            )
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(f"{size} photos: the measurement ended with an error, above; run the command again")
        found.append(json.loads(file.read_text()))
    write_result({"sizes": found}, options.json)


if __name__ == "__main__":
    main()
