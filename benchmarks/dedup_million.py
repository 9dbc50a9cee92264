"""De-duplicate many studio thumbnails: photos a second for each step, and the memory that it takes.

    python -m benchmarks.dedup_million --photos 20000 --work WORK
    python -m benchmarks.dedup_million --photos 1000000 --work WORK      # the whole measurement

Thumbnails are 64 pixels wide, in tar shards of 10,000. The studio draws --drawn of them. The others are made of these
by mirrors, cuts of a third and changed colours, which are other pictures to a de-duplication; 30 % are near-duplicates
as benchmarks/cleaning_planted.toml has them. Drawing and packing are not part of the measured time.
"""

from __future__ import annotations

import io
import random
import resource
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from benchmarks.near_duplicates import copy_of, planted, saved
from benchmarks.report import parser, write_result
from training.cleaning.copies.duplicates import DuplicateSettings, duplicate_marks
from training.cleaning.copies.fingerprints import take_fingerprints
from training.cleaning.marks import Marks
from training.readers.label_table import Row
from training.studio import TEST_IDENTITIES, make_product, render

SIDE = 64
PER_SHARD = 10_000


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


def pack(work: Path, count: int, drawn: int) -> list[Row]:
    """Write the shards unless they are there, and return one row for each photo, with `origin`."""
    folder = work / "shards"
    names = folder / "origins.txt"
    if not names.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        draw = random.Random(3)
        pictures = [
            Image.fromarray(render(make_product(TEST_IDENTITIES[5000 + i]), i % 5, size=(96, 96)).pixels)
            for i in range(drawn)
        ]
        origins = []
        made = enumerate(_variants(pictures, count, draw))
        for shard in range(-(-count // PER_SHARD)):
            with tarfile.open(folder / f"train-{shard:04d}.tar", "w") as tar:
                for number, (origin, data) in (one for one, _ in zip(made, range(PER_SHARD), strict=False)):
                    member = tarfile.TarInfo(f"{number:07d}.jpg")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
                    origins.append(origin)
        names.write_text("\n".join(origins))
    found = names.read_text().split("\n")
    return [
        {"path": f"train-{i // PER_SHARD:04d}.tar/{i:07d}.jpg", "split": "train", "origin": origin}
        for i, origin in enumerate(found)
    ]


def _peak_mb() -> float:
    """The largest memory of this process so far and of its largest child, in MiB."""
    own, child = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return (own + child) / 1024


def measure(work: Path, rows: list[Row], workers: int) -> dict[str, Any]:
    """Fingerprint, compare, mark; seconds, rates and memory."""
    folder, begun = work / "shards", time.perf_counter()
    start_mb = _peak_mb()
    prints = take_fingerprints(folder, [row["path"] for row in rows], work / "clean", workers=workers)
    read_s = time.perf_counter() - begun
    read_mb = _peak_mb()
    begun = time.perf_counter()
    marks = Marks(work / "clean")
    settings = DuplicateSettings()
    count = marks.write("duplicates", {}, duplicate_marks(rows, prints, settings, threads=workers))
    compare_s = time.perf_counter() - begun
    origin = {row["path"]: row["origin"] for row in rows}
    right = sum(origin[mark.photo] == origin[mark.kept] for mark in marks.in_force("duplicates"))
    planted_ones = len(rows) - len(set(origin.values()))
    return {
        "photos": len(rows),
        "fingerprints_s": round(read_s, 1),
        "fingerprints_per_s": round(len(rows) / read_s),
        "compare_s": round(compare_s, 1),
        "compare_per_s": round(len(rows) / compare_s),
        "marked": count,
        "precision": round(right / max(1, count), 4),
        "recall": round(right / max(1, planted_ones), 4),
        "memory_mb": {"begin": round(start_mb), "fingerprints": round(read_mb), "end": round(_peak_mb())},
    }


def main() -> None:
    """Pack, measure, print."""
    made = parser(__doc__, tells="result")
    made.add_argument("--photos", type=int, default=20_000, help="thumbnails (default 20,000)")
    made.add_argument("--drawn", type=int, default=200, help="pictures that the studio draws (default 200)")
    made.add_argument("--work", type=Path, required=True, help="folder for the shards; kept")
    made.add_argument("--workers", type=int, default=2, help="processes and threads (default 2)")
    options = made.parse_args()
    rows = pack(options.work, options.photos, options.drawn)
    write_result(measure(options.work, rows, options.workers), options.json)


if __name__ == "__main__":
    main()
