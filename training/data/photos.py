"""The photos of a run: read once, resized once, and kept as one uint8 array for each data set, with its rows.

The array is written photo by photo and memory-mapped, so a data set may be larger than the memory, and no epoch decodes
anything. Photos that cannot be read or decoded are counted, named and left out. They never end a run.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.files import replacing, write_file
from engines.pixels import decode
from schemas.errors import ConfigError, Invalid
from schemas.manifest import Preprocess
from training.progress import tracked
from training.readers import read, read_photo
from training.readers.label_table import Row, box_of, is_catalogue
from training.recipe import STUDIO, DataSet, Recipe
from training.studio import TEST_IDENTITIES, TRAIN_IDENTITIES, make_product, render

log = logging.getLogger(__name__)
Pixels = NDArray[np.uint8]
Job = TypeVar("Job")
Made = TypeVar("Made")
ALONE = 64  # with fewer jobs it takes longer to start other processes


@dataclass(frozen=True)
class PhotoSet:
    """A data set in memory.

    Attributes:
        pixels: `uint8 [n, side, side, 3]`, memory-mapped.
        rows: of the photos, in that order.
        skipped: file, line or sample → why it is not there.
    """

    spec: DataSet
    pixels: Pixels
    rows: list[Row]
    skipped: dict[str, str] = field(default_factory=dict)

    def index(self, split: str, catalogue: bool) -> NDArray[np.int64]:
        """`int64 [n]`: positions of the split's own photos, or of its catalogue photos. `gallery` counts as
        training."""
        splits = {split, "gallery"} if split == "train" else {split}
        if not catalogue:
            splits.discard("gallery")
        kept = [i for i, r in enumerate(self.rows) if r["split"] in splits and is_catalogue(r) == catalogue]
        return np.array(kept, np.int64)


def load(recipe: Recipe, data: Path, cache: Path) -> list[PhotoSet]:
    """Every data set of the recipe. What is in `cache` is not decoded again.

    Raises:
        ConfigError: a data set cannot be read, has no photo, or its cache is of another size.
    """
    cache.mkdir(parents=True, exist_ok=True)
    return [_load_one(spec, recipe.cache_size, data, cache) for spec in recipe.datasets]


def _load_one(spec: DataSet, size: int, data: Path, cache: Path) -> PhotoSet:
    pixels_file, rows_file = cache / f"{spec.name}.npy", cache / f"{spec.name}.json"
    skipped_file = cache / f"{spec.name}.skipped.json"
    if not (pixels_file.is_file() and rows_file.is_file()):
        skipped: dict[str, str] = {}
        made = _studio(spec, size) if spec.reader == STUDIO else _decoded(spec, data / spec.folder, size, skipped)
        rows = write_pixels(pixels_file, made, size)
        if not rows:
            raise ConfigError(f"datasets[{spec.name}]: no photo could be decoded; the log has the reasons")
        write_file(skipped_file, json.dumps(skipped, indent=1, sort_keys=True))
        write_file(rows_file, json.dumps(rows))
    rows = [left_out(spec, row) for row in json.loads(rows_file.read_text())]
    pixels = np.load(pixels_file, mmap_mode="r")
    if pixels.shape[:2] != (len(rows), size):
        raise ConfigError(f"cache {pixels_file}: made for another recipe; remove it, or name another --out")
    return PhotoSet(spec, pixels, rows, json.loads(skipped_file.read_text()) if skipped_file.is_file() else {})


LEFT_OUT = "left-out"  # the split of photos that a recipe excludes from training; they are in no other split


def left_out(spec: DataSet, row: Row) -> Row:
    """The row, moved out of training and validation if the recipe leaves its product out. Test photos do not move.

    Raises:
        ConfigError: the column is not a whole number.
    """
    if not spec.leave_out or row["split"] == "test":
        return row
    try:
        number = int(row.get(spec.leave_out, ""))
    except ValueError:
        text = f"{row.get(spec.leave_out)!r} of photo {row.get('path', '')} is no whole number"
        raise ConfigError(f"datasets[{spec.name}].leave_out: {text}") from None
    return row if number % spec.leave_out_every else row | {"split": LEFT_OUT}


def write_pixels(path: Path, made: Iterable[tuple[Pixels, Made]], size: int) -> list[Made]:
    """Write the photos one after another, as `np.save` would write all of them at once; returns what came with each.

    The header is written twice, at the end with the count. numpy pads it, so that a longer count fits.
    """
    rows: list[Made] = []
    header = {"descr": "|u1", "fortran_order": False}
    with replacing(path) as part, part.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (0, size, size, 3)})
        begin = file.tell()
        for pixels, row in made:
            file.write(pixels.tobytes())
            rows.append(row)
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (len(rows), size, size, 3)})
        if file.tell() != begin:
            raise RuntimeError(f"{path}: numpy wrote a header of another length; the cache would be wrong")
    return rows


def squash(size: int) -> Preprocess:
    """The pre-processing of every network that is trained here: both sides are scaled to `size` pixels, bilinear."""
    return Preprocess(mode="squash", width=size, height=size)


def _decoded(spec: DataSet, folder: Path, size: int, skipped: dict[str, str]) -> Iterator[tuple[Pixels, Row]]:
    found = read(spec.reader, folder, spec.validation)
    skipped |= found.skipped
    done = spread(_decode_one, [(folder, row, size) for row in found.rows])
    done = tracked(done, f"decoding {spec.name}", len(found.rows))
    for row, pixels in zip(found.rows, done, strict=True):
        if isinstance(pixels, str):
            skipped[row["path"]] = pixels
        else:
            yield pixels, row
    for name, reason in skipped.items():
        log.warning("skipped %s: %s", name, reason)
    log.info("%s: %d photos, %d skipped", spec.name, len(found.rows) + len(found.skipped) - len(skipped), len(skipped))


def _decode_one(job: tuple[Path, Row, int]) -> Pixels | str:
    """The photo `uint8 [size, size, 3]`, or why there is none."""
    folder, row, size = job
    try:
        return decode(read_photo(folder, row["path"]), squash(size), box=box_of(row))
    except Invalid as error:
        return f"cannot be decoded: {error.error}"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"


def studio_jobs(spec: DataSet) -> list[tuple[int, int, str, str]]:
    """Every photo to draw, as (identity, view, domain, split). Training products are the first of the training
    identities, validation products the last."""
    train = TRAIN_IDENTITIES[: spec.identities]
    jobs = [(i, v, "natural", "train") for v in range(spec.views) for i in train]
    jobs += [(i, 0, "iconic", "train") for i in train]
    for split, held in (("val", TRAIN_IDENTITIES[-spec.held_out :]), ("test", TEST_IDENTITIES[: spec.held_out])):
        jobs += [(i, v, "natural", split) for i in held for v in range(3)] + [(i, 0, "iconic", split) for i in held]
    return jobs


def _studio(spec: DataSet, size: int) -> Iterable[tuple[Pixels, Row]]:
    jobs = studio_jobs(spec)
    yield from tracked(spread(render_one, [(job, size) for job in jobs]), f"drawing {spec.name}", len(jobs))


def spread(work: Callable[[Job], Made], jobs: list[Job]) -> Iterator[Made]:
    """`work` on every job, on all cores; results in the order of the jobs. `work` must be a function of a module."""
    if len(jobs) < ALONE:
        yield from map(work, jobs)
        return
    # spawn, as the caller has torch's threads: a fork would copy their locks in any state
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, jobs, chunksize=16)


def render_one(job: tuple[tuple[int, int, str, str], int]) -> tuple[Pixels, Row]:
    """A studio photo `uint8 [size, size, 3]` of the job ((identity, view, domain, split), size), and its row."""
    from PIL import Image

    (identity, view, domain, split), size = job
    product = make_product(identity)
    # square, wide and tall photos, squashed like those of sellers
    frame = [(224, 224), (256, 192), (192, 256)][(identity + view) % 3]
    photo = render(product, view, "iconic" if domain == "iconic" else "natural", size=frame)
    pixels = np.asarray(Image.fromarray(photo.pixels).resize((size, size), Image.Resampling.BILINEAR))
    row = {"product": str(identity), "domain": domain, "split": split, "title": product.title}
    row |= {"category": product.category, "colour": product.colour}
    return pixels, row | {"material": product.material, "pattern": product.pattern}
