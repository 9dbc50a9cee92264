"""One cleaning: a folder with the marks and everything that was computed, and the steps that write into it.

    OUT/photos           a link to the folder of the photos
    OUT/marks.jsonl      what was decided (`marks`)
    OUT/index/           hashes of the photos, made anew by each de-duplication
    OUT/fingerprints.*   of every photo, and vectors.* their embeddings; a step that was interrupted goes on from these
    OUT/radii.json       how the radii of the last de-noising were chosen
    OUT/labels.csv       the cleaned table, which `groknet train` takes (`table`)

The photos themselves are never changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from engines.files import write_file
from schemas.errors import ConfigError
from training.bulk import Engine
from training.cleaning.copies.duplicates import DuplicateSettings, duplicate_marks
from training.cleaning.copies.fingerprints import Fingerprints, take_fingerprints
from training.cleaning.marks import LEAVES_OUT, Mark, Marks, Value
from training.cleaning.packed_rows import Paths
from training.cleaning.products.merging import MergeSettings, merge_marks
from training.cleaning.products.noise import NoiseSettings, noise_marks
from training.cleaning.products.relabelling import RelabelSettings, relabel_marks
from training.cleaning.products.vectors import Embedder, Vectors
from training.cleaning.source import Source
from training.readers.label_table import Row

Floats = NDArray[np.float32]
Bar = Callable[[str, int, int], None]
"""Called with what is done now, how many of it are done, and how many there are; 0 where nobody knows."""
PHOTOS, RADII = "photos", "radii.json"


class Cleaning:
    """The steps over one source. Each replaces the marks of its earlier run, and reads those of earlier steps."""

    def __init__(
        self,
        source: Source,
        out: Path,
        product: str,
        *,
        workers: int | None = None,
        engine: Engine = "pool",
        bar: Bar | None = None,
    ) -> None:
        """Begin a cleaning in `out`, or go on with one.

        Args:
            source: the photos.
            out: the folder; made if it is missing.
            product: the column that names a photo's product.
            workers: processes that read photos; None means one for each core.
            engine: what runs them.
            bar: shows how far a step is.

        Raises:
            ConfigError: `out` is a cleaning of another folder.
        """
        self.source, self.out, self.product = source, out, product
        self.marks = Marks(out)
        self._workers, self._engine = workers or os.cpu_count() or 1, engine
        self._bar = bar or (lambda *_: None)
        out.mkdir(parents=True, exist_ok=True)
        _link(out / PHOTOS, source.folder)

    def read(self) -> Fingerprints:
        """Take the fingerprint of every photo, and mark the files that are none or that cannot be read."""
        prints = take_fingerprints(
            self.source.folder,
            Paths(self.source.rows),
            self.out,
            workers=self._workers,
            engine=self._engine,
            progress=lambda done, total: self._bar("read", done, total),
        )
        self.marks.write("read", {"reader": self.source.reader}, _unread(self.source, prints))
        return prints

    def duplicates(self, prints: Fingerprints, settings: DuplicateSettings) -> int:
        """Mark all photos of a group of duplicates but the best, and return how many."""
        marks = duplicate_marks(
            self.source.rows,
            prints,
            settings,
            product=self.product,
            workers=self._workers,
            engine=self._engine,
            progress=lambda done, total: self._bar("compare", done, total),
        )
        return self.marks.write("duplicates", _as_values(settings), marks)

    def embed(self, embedder: Embedder, before: str) -> None:
        """Embed the photos that the steps before `before` left."""
        Vectors(self.out, embedder).add(
            self.source.folder,
            [row["path"] for row in self._left(before)],
            progress=lambda done, total: self._bar("embed", done, total),
        )

    def noise(self, embedder: Embedder, settings: NoiseSettings) -> int:
        """Mark the photos that show something else than their product, and return how many.

        Raises:
            ConfigError: there are no products to compare.
        """
        self.embed(embedder, "noise")
        rows, vectors = self._seen(embedder, "noise")
        chosen, marks = noise_marks(
            [row["path"] for row in rows],
            [row.get(self.product, "") for row in rows],
            vectors,
            settings,
            progress=lambda done, total: self._bar("de-noise", done, total),
        )
        write_file(self.out / RADII, json.dumps(asdict(chosen), indent=1))
        settings_used = _as_values(settings) | {"strict": chosen.strict, "loose": chosen.loose}
        return self.marks.write("noise", settings_used, marks)

    def merge(self, embedder: Embedder, settings: MergeSettings) -> int:
        """Mark the labels that are one product with another, and return how many."""
        self.embed(embedder, "merge")
        rows, vectors = self._seen(embedder, "merge")
        marks = merge_marks(
            [row["path"] for row in rows],
            [row.get(self.product, "") for row in rows],
            vectors,
            settings,
            progress=lambda done: self._bar("merge: round", done, 0),
        )
        return self.marks.write("merge", _as_values(settings), marks)

    def relabel(self, embedder: Embedder, settings: RelabelSettings) -> int:
        """Mark the photos left out by the de-noising whose product is found, and return how many.

        Raises:
            ConfigError: nothing was de-noised yet.
        """
        noise = self.marks.settings().get("noise")
        if noise is None:
            raise ConfigError("relabel: it looks at the photos that de-noising left out; run denoise first")
        others = self.marks.left_out(before="noise")
        wrong = {mark.photo for mark in self.marks.in_force("noise")} - others
        into = self.marks.products()
        self.embed(embedder, "noise")
        rows, vectors = self._seen(embedder, "noise")
        labels = [row.get(self.product, "") for row in rows]
        radius, marks = relabel_marks(
            [row["path"] for row in rows],
            [into.get(label, label) for label in labels],
            vectors,
            np.array([row["path"] in wrong for row in rows], bool),
            strict=float(noise["strict"]),
            settings=settings,
        )
        return self.marks.write("relabel", _as_values(settings) | {"radius": radius}, marks)

    def has_products(self) -> bool:
        """Whether there are two products or more to compare."""
        return len({row[self.product] for row in self.source.rows if row.get(self.product)}) > 1

    def _left(self, before: str) -> list[Row]:
        gone = self.marks.left_out(before=before)
        return [row for row in self.source.rows if row["path"] not in gone]

    def _seen(self, embedder: Embedder, before: str) -> tuple[list[Row], Floats]:
        """The photos that are left and have an embedding."""
        vectors = Vectors(self.out, embedder)
        rows = [row for row in self._left(before) if row["path"] not in vectors.errors]
        return rows, vectors.of([row["path"] for row in rows])


def _link(link: Path, folder: Path) -> None:
    """Make `link` lead to the folder. Paths of the cleaned table begin with it."""
    if link.is_symlink() or link.exists():
        if link.resolve() != folder.resolve():
            raise ConfigError(f"--out {link.parent}: it is a cleaning of {link.resolve()}; name another folder")
        return
    link.symlink_to(folder.resolve(), target_is_directory=True)


def _unread(source: Source, prints: Fingerprints) -> Iterator[Mark]:
    for name, reason in source.skipped.items():
        yield Mark(step="read", what="no_photo", photo=name, why={"reason": reason})
    for photo in prints.names():
        if photo.error:
            yield Mark(step="read", what="unreadable", photo=photo.path, why={"reason": photo.error})


def _as_values(settings: msgspec.Struct) -> dict[str, Value]:
    return {name: value for name, value in msgspec.structs.asdict(settings).items() if value is not None}


def account(source: Source, marks: Marks) -> dict[str, int]:
    """What became of every file: each photo counts once, by the first step that left it out. `files` is the sum of all
    lines but itself and `products merged`. A photo that is `relabelled` is kept, under another product."""
    first: dict[str, str] = {}
    merged = 0
    for mark in marks.in_force():
        if mark.what == "same_product":
            merged += 1
        elif mark.what in LEAVES_OUT:
            first.setdefault(mark.photo, mark.what)
    first |= dict.fromkeys(marks.relabelled(), "relabelled")
    counts = dict.fromkeys(("kept", "relabelled", "same_bytes", "near_duplicate", "noise", "unreadable"), 0)
    for row in source.rows:
        counts[first.get(row["path"], "kept")] += 1
    counts |= {"no_photo": len(source.skipped), "hidden": source.junk}
    return counts | {"files": sum(counts.values()), "products merged": merged}
