"""De-duplicate many studio thumbnails: processor time of each step, and the memory that it takes, at three sizes.

    python -m benchmarks.cleaning.dedup_million --photos 20000 --work WORK
    python -m benchmarks.cleaning.dedup_million --photos 1000000 --work WORK      # the whole measurement

Thumbnails are 64 pixels wide, in tar shards of 10,000. The studio draws --drawn of them. The others are made of these
by mirrors, cuts of a third and changed colours, which are other pictures to a de-duplication; 30 % are near-duplicates
as benchmarks/cleaning/cleaning_planted.toml has them. Drawing and packing are not part of the measured time.

Each size is measured in a process of its own: a 16th of the photos, a 4th and all. Fingerprints of a
smaller size are not taken again. A size that is measured is kept in WORK, so a run that was stopped goes on. Times are
processor seconds of one core, because other work may share the machine. Memory is that of the process that measures,
its own pages apart from those of mapped files; with --workers the others are not counted.

Of the false pairs it counts those that show mostly the same part of one drawn picture: `false_overlap_0.6` have 60 % or
more of what both show together in common. These are mirrored alike, but each has colours and a patch of its own.
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
from typing import Any, NamedTuple, overload

import numpy as np
from PIL import Image, ImageOps

from benchmarks.cleaning.memory_peak import MemoryPeak, memory_mb
from benchmarks.cleaning.near_duplicates import copy_of, planted, saved
from benchmarks.report import parser, write_result
from engines.files import replacing
from training.cleaning.copies.duplicates import DuplicateSettings, duplicate_marks
from training.cleaning.copies.fingerprints import Fingerprints, take_fingerprints
from training.cleaning.marks import Marks
from training.cleaning.packed_rows import Paths
from training.readers.label_table import Row
from training.studio import TEST_IDENTITIES, make_product, render

SIDE = 64
PER_SHARD = 10_000
ORIGINS = "origins.txt"
OVERLAPS = (0.6, 0.8)  # intersection over union from which a false pair is counted as showing the same part


class Origin(NamedTuple):
    """What a thumbnail was made of: the name of its original, the number of the drawn picture, whether that was
    mirrored, and which part of it was cut out, in pixels: left, top, right, bottom."""

    name: str
    drawn: int
    mirrored: int
    left: int
    top: int
    right: int
    bottom: int

    def overlap(self, other: Origin) -> float:
        """How much of what two thumbnails show is the same part of one drawn picture: intersection over union."""
        if (self.drawn, self.mirrored) != (other.drawn, other.mirrored):
            return 0.0
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        both = max(0, width) * max(0, height)
        return both / (self._area() + other._area() - both)

    def _area(self) -> int:
        return (self.right - self.left) * (self.bottom - self.top)


def _variants(drawn: list[Image.Image], count: int, draw: random.Random) -> Iterator[tuple[Origin, bytes]]:
    """`count` thumbnails: (origin, JPEG bytes). A near-duplicate has the origin of its original."""
    plan = planted()
    recent: list[tuple[Origin, Image.Image]] = []
    for number in range(count):
        if recent and draw.random() < plan["near_duplicates"]:
            origin, picture = recent.pop(draw.randrange(len(recent)))
            change = draw.choice(sorted(plan["transformations"]))
            yield origin, copy_of(picture, change, draw.choice(plan["transformations"][change]))
            continue
        origin, picture = _other(drawn, f"o{number:07d}", draw)
        recent.append((origin, picture))
        if len(recent) > 1000:
            recent.pop(0)
        yield origin, saved(picture)


def _other(drawn: list[Image.Image], name: str, draw: random.Random) -> tuple[Origin, Image.Image]:
    """Another picture: perhaps mirrored, cut by a third somewhere, with other colours and a patch of its own."""
    which = draw.randrange(len(drawn))
    picture = drawn[which]
    mirrored = draw.random() < 0.5
    if mirrored:
        picture = ImageOps.mirror(picture)
    width, height = (round(side * draw.uniform(0.55, 0.7)) for side in picture.size)
    left, top = draw.randrange(picture.width - width), draw.randrange(picture.height - height)
    part = left, top, left + width, top + height
    picture = picture.crop(part).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pixels = np.asarray(picture, np.float32)
    rng = np.random.default_rng(draw.randrange(2**32))
    field = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((SIDE, SIDE))
    mixed = pixels[..., rng.permutation(3)] * 0.6 + np.asarray(field, np.float32) * 0.4
    return Origin(name, which, int(mirrored), *part), Image.fromarray(mixed.astype(np.uint8))


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


def _path(number: int) -> str:
    return f"train-{number // PER_SHARD:04d}.tar/{number:07d}.jpg"


def pack(work: Path, count: int, drawn: int) -> None:
    """Write the shards, and the name of the original of each photo, unless they are there."""
    folder = work / "shards"
    names = folder / ORIGINS
    if names.is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    made = enumerate(_variants(_drawn(work, drawn), count, random.Random(3)))
    with names.with_suffix(".part").open("w") as origins:
        for shard in range(-(-count // PER_SHARD)):
            with tarfile.open(folder / f"train-{shard:04d}.tar", "w") as tar:
                for number, (origin, data) in islice(made, PER_SHARD):
                    member = tarfile.TarInfo(f"{number:07d}.jpg")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
                    origins.write(" ".join(map(str, origin)) + "\n")
    names.with_suffix(".part").replace(names)


def _drawn(work: Path, count: int) -> list[Image.Image]:
    """The pictures that the studio draws. They are kept, because drawing takes longest."""
    file = work / f"drawn-{count}.npy"
    if not file.is_file():
        pixels = [render(make_product(TEST_IDENTITIES[5000 + i]), i % 5, size=(96, 96)).pixels for i in range(count)]
        with replacing(file) as part, part.open("wb") as opened:
            np.save(opened, np.stack(pixels))
    return [Image.fromarray(pixels) for pixels in np.load(file)]


def _cpu_s() -> float:
    """Processor seconds of this process and of its children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measure(work: Path, count: int, workers: int) -> dict[str, Any]:
    """Take the fingerprints that are missing, compare and mark the first `count` photos."""
    folder, clean = work / "shards", work / "clean"
    known = len(Fingerprints(clean))
    begun, begin_mb = _cpu_s(), memory_mb()
    with MemoryPeak() as reading:
        prints = take_fingerprints(folder, Paths(Rows(count)), clean, workers=workers)
        read_s = _cpu_s() - begun
    marks = Marks(work / f"marks-{count}")
    with MemoryPeak() as comparing:
        begun = _cpu_s()
        found = duplicate_marks(Rows(count), prints, DuplicateSettings(), workers=workers)
        marked = marks.write("duplicates", {}, found)
        compare_s = _cpu_s() - begun
    return {
        "photos": count,
        "fingerprints_taken": count - known,
        "fingerprints_cpu_s": round(read_s, 1),
        "compare_cpu_s": round(compare_s, 1),
        "compare_ms_a_photo": round(1000 * compare_s / count, 3),
        "marked": marked,
        **_judged(folder, marks, count),
        "begin_mb": {"private": round(begin_mb[0]), "mapped": round(begin_mb[1])},
        "fingerprints_mb": reading.as_mb(),
        "compare_mb": comparing.as_mb(),
    }


def _judged(folder: Path, marks: Marks, count: int) -> dict[str, float]:
    """Precision and recall, and how many of the false pairs show mostly the same part of one drawn picture."""
    with (folder / ORIGINS).open() as lines:
        origins = [_origin(line) for line in islice(lines, count)]
    places = ((_number(mark.photo), _number(mark.kept)) for mark in marks.in_force("duplicates"))
    pairs = [(origins[one], origins[other]) for one, other in places]
    false = [one.overlap(other) for one, other in pairs if one.name != other.name]
    copies = count - len({origin.name for origin in origins})
    right = len(pairs) - len(false)
    most = {f"false_overlap_{share:.1f}": sum(overlap >= share for overlap in false) for share in OVERLAPS}
    return {
        "precision": round(right / max(1, len(pairs)), 4),
        "recall": round(right / max(1, copies), 4),
        "false": len(false),
        **most,
    }


def _origin(line: str) -> Origin:
    name, *numbers = line.split()
    return Origin(name, *map(int, numbers))


def _number(path: str) -> int:
    return int(path.rpartition("/")[2].removesuffix(".jpg"))


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
