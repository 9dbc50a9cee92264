"""Boxed photos as one uint8 array for each set, decoded once and memory-mapped, with their boxes as numbers."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from engines.files import write_file
from engines.pixels import decode
from schemas.errors import ConfigError, Invalid
from training.data.photos import Pixels, spread, squash, write_pixels
from training.detection.data.box_table import FoundBoxes, read_box_table
from training.detection.data.studio_boxes import SINGLES, StudioJob, draw_job, studio_jobs
from training.detection.recipe import BoxSet, DetectorRecipe
from training.detection.records import IGNORED, PRODUCT, BoxedPhoto

log = logging.getLogger(__name__)


class BoxedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A photo's boxes as the cache keeps them: `boxes` are left, top, right, bottom in shares; `sort` is `scenes` or
    `singles` for a photo of the studio."""

    path: str
    split: str
    boxes: list[tuple[float, float, float, float]]
    kinds: list[str]
    sort: str = ""


@dataclass(frozen=True)
class BoxedSet:
    """A set of photos in memory.

    Attributes:
        name: of the set.
        share: its photos in every batch.
        pixels: uint8 [n, side, side, 3], memory-mapped.
        rows: of the photos, in that order.
        skipped: file, or file and line → why it is not there.
        others: see `BoxSet.others`.
    """

    name: str
    share: int
    pixels: Pixels
    rows: list[BoxedRow]
    skipped: dict[str, str] = field(default_factory=dict)
    others: str = IGNORED

    def index(self, split: str, sort: str = "") -> NDArray[np.int64]:
        """int64 [n]: positions of the split's photos; `sort` takes only those of that sort."""
        kept = [i for i, r in enumerate(self.rows) if r.split == split and (not sort or r.sort == sort)]
        return np.array(kept, np.int64)

    def lesson(self, number: int, kinds: Sequence[str]) -> Boxes:
        """What the photo `number` teaches."""
        row = self.rows[number]
        boxes = boxes_of(row, kinds)
        return replace(boxes, ignored=boxes.ignored[:0]) if row.sort == SINGLES and self.others != IGNORED else boxes


def load_boxed_sets(recipe: DetectorRecipe, data: Path, cache: Path) -> list[BoxedSet]:
    """Every set of the recipe. What is in `cache` is neither decoded nor drawn again, unless the set is described in
    another way or its tables have changed since. If its tables are gone, the cache is used as it is.

    Raises:
        ConfigError: a table cannot be read, a set has no photo, or its cache has photos of another size.
    """
    cache.mkdir(parents=True, exist_ok=True)
    return [_load_one(spec, recipe.side, data, cache) for spec in recipe.datasets]


def boxed_set(name: str, photos: Sequence[BoxedPhoto], side: int, cache: Path, *, share: int = 1) -> BoxedSet:
    """A set of any boxed photos, all for training, for instance of a labelling loop. Its cache is made anew."""
    cache.mkdir(parents=True, exist_ok=True)
    skipped: dict[str, str] = {}
    jobs = [("train", photo) for photo in photos]
    rows = write_pixels(cache / f"{name}.npy", _decoded(jobs, side, skipped), side)
    return BoxedSet(name, share, np.load(cache / f"{name}.npy", mmap_mode="r"), rows, skipped)


def _load_one(spec: BoxSet, side: int, data: Path, cache: Path) -> BoxedSet:
    pixels_file, rows_file = cache / f"{spec.name}.npy", cache / f"{spec.name}.json"
    key_file, key = cache / f"{spec.name}.key", _key(spec, data)
    skipped: dict[str, str] = {}
    if not (pixels_file.is_file() and rows_file.is_file() and _fits(key_file, key)):
        key_file.unlink(missing_ok=True)
        if spec.reader == "studio":
            made = _drawn(studio_jobs(spec), side)
        else:
            found = read_box_table(spec, data)
            skipped |= found.skipped
            made = _decoded(_jobs(found), side, skipped)
        rows = write_pixels(pixels_file, made, side)
        if not rows:
            raise ConfigError(f"datasets[{spec.name}]: no photo could be decoded; the log has the reasons")
        write_file(rows_file, msgspec.json.encode(rows))
        write_file(key_file, " ".join(key).encode())  # last: it says that the other files are whole
    rows = msgspec.json.decode(rows_file.read_bytes(), type=list[BoxedRow])
    pixels = np.load(pixels_file, mmap_mode="r")
    if pixels.shape[:2] != (len(rows), side):
        raise ConfigError(f"cache {pixels_file}: made for another recipe; remove it, or name another --out")
    return BoxedSet(spec.name, spec.share, pixels, rows, skipped, spec.others)


def _key(spec: BoxSet, data: Path) -> tuple[str, str]:
    """What a cache was made of: a SHA-256 of the set's description, without what changes no photo and no box, and one
    of its tables. The second is empty if a table cannot be read."""
    described = msgspec.json.encode(msgspec.structs.replace(spec, share=1, others=IGNORED, about=""))
    names = [] if spec.reader == "studio" else [name for name in (spec.boxes, spec.splits) if name]
    try:
        tables = [hashlib.sha256((data / spec.folder / name).read_bytes()).digest() for name in names]
    except OSError:
        return hashlib.sha256(described).hexdigest(), ""
    return hashlib.sha256(described).hexdigest(), hashlib.sha256(b"".join(tables)).hexdigest()


def _fits(file: Path, key: tuple[str, str]) -> bool:
    """Whether a cache was made of what the key says. One without a key is of an older version."""
    try:
        described, _, tables = file.read_text("utf-8").partition(" ")
    except (OSError, UnicodeDecodeError):
        return False
    return described == key[0] and key[1] in ("", tables)


def _jobs(found: FoundBoxes) -> list[tuple[str, BoxedPhoto]]:
    return [(split, photo) for split, photos in found.photos.items() for photo in photos]


def _decoded(
    jobs: Sequence[tuple[str, BoxedPhoto]], side: int, skipped: dict[str, str]
) -> Iterator[tuple[Pixels, BoxedRow]]:
    done = spread(_decode_one, [(photo.path, side) for _, photo in jobs])
    for (split, photo), pixels in zip(jobs, done, strict=True):
        if isinstance(pixels, str):
            skipped[str(photo.path)] = pixels
        else:
            yield pixels, _row(photo, split)
    for name, reason in skipped.items():
        log.warning("skipped %s: %s", name, reason)


def _decode_one(job: tuple[Path, int]) -> Pixels | str:
    """The photo uint8 [side, side, 3], or why there is none."""
    path, side = job
    try:
        return decode(path.read_bytes(), squash(side))
    except Invalid as error:
        return f"cannot be decoded: {error.error}"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"


def _drawn(jobs: Sequence[StudioJob], side: int) -> Iterator[tuple[Pixels, BoxedRow]]:
    done = spread(_draw_one, [(job, side) for job in jobs])
    for job, (pixels, photo) in zip(jobs, done, strict=True):
        yield pixels, _row(photo, job.split, job.sort)


def _draw_one(job: tuple[StudioJob, int]) -> tuple[Pixels, BoxedPhoto]:
    return draw_job(*job)


def _row(photo: BoxedPhoto, split: str, sort: str = "") -> BoxedRow:
    boxes = [(box.left, box.top, box.right, box.bottom) for box in photo.boxes]
    return BoxedRow(path=str(photo.path), split=split, boxes=boxes, kinds=list(photo.kinds), sort=sort)


def known_kinds(recipe: DetectorRecipe, sets: Sequence[BoxedSet]) -> list[str]:
    """The kinds of a run, `product` first: the recipe's, or those with enough training boxes."""
    if recipe.kinds:
        return recipe.with_product(recipe.kinds)
    counts: Counter[str] = Counter()
    for one in sets:
        for number in one.index("train"):
            counts.update(one.rows[number].kinds)
    return recipe.with_product([k for k, n in counts.items() if n >= recipe.least_kind and k not in (PRODUCT, IGNORED)])


@dataclass(frozen=True)
class Boxes:
    """The boxes of one photo as arrays: `edges` float32 [k, 4] in shares, `kinds` int64 [k], places in the run's list
    of kinds, and `ignored` float32 [j, 4]."""

    edges: NDArray[np.float32]
    kinds: NDArray[np.int64]
    ignored: NDArray[np.float32]


def boxes_of(row: BoxedRow, kinds: Sequence[str]) -> Boxes:
    """A row's boxes as arrays. A kind that is not among `kinds` counts as `product`."""
    edges = np.array(row.boxes, np.float32).reshape(-1, 4)
    ignored = np.array([kind == IGNORED for kind in row.kinds], bool)
    places = {kind: place for place, kind in enumerate(kinds)}
    numbers = np.array([places.get(kind, 0) for kind in row.kinds], np.int64)
    return Boxes(edges[~ignored], numbers[~ignored], edges[ignored])
