"""Label unlabelled photos with their nearest product: photos → boxes → embeddings → nearest labelled photo.

This is GrokNet's weak supervision of the product-id data (KDD 2020): detect boxes in unlabelled photos, embed each, and
take the nearest labelled product if its distance is below a threshold. The distance is the squared L2 distance of unit
vectors, from 0 to 4, as in the pairwise loss. A product is as near as its nearest labelled photo. A public
article gives a threshold of .2, which is a cosine of .9. `judge` measures the threshold on labelled validation photos.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from engines.recognition import build_engine
from schemas.errors import ConfigError
from training.readers import Found, read
from training.readers.found_rows import photos_below
from training.readers.label_table import Row
from training.weak.boxes import Boxes, box_text
from training.weak.embeddings import Seen, embed
from training.weak.gallery import PROVENANCE, Gallery, build_gallery, judge
from training.weak.label_files import refuse_foreign, way, write_table

Progress = Callable[[int, int], None]
"""Called with the photos done and the photos in all."""


class WeakSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What counts as near, and where the labels are."""

    product: str = "product"  # column of the labelled rows that is the identity
    reader: str = "csv"  # layout of the labelled folder
    threshold: Annotated[float, Meta(gt=0, le=4)] = 0.2  # squared L2 distance of unit vectors: cosine above .9


@dataclass(frozen=True)
class WeakReport:
    """What became of the photos.

    Attributes:
        counts: of photos, of boxes, and of each way in which they were dropped or kept.
        skipped: path → why the photo was dropped.
        quantiles: of the nearest distances.
        validation: what `judge` found on the labelled validation photos.
    """

    counts: dict[str, int]
    skipped: dict[str, str]
    quantiles: dict[str, float]
    validation: list[dict[str, float]]


def label_photos(
    bundle: Path,
    labelled: Path,
    photos: Path,
    out: Path,
    settings: WeakSettings,
    *,
    boxes: Boxes | None = None,
    progress: Progress | None = None,
) -> WeakReport:
    """Write `out`, a labels.csv with the photos that were near enough; its paths start at its own folder.

    Photos are compared with the training and catalogue photos of `labelled`. The validation photos of `labelled` judge
    the threshold. Its test photos are only kept out: a photo with the same bytes as any labelled photo is dropped.

    Args:
        bundle: computes the embeddings.
        labelled: folder of the labelled photos.
        photos: folder of the photos to label.
        out: the table to write.
        settings: threshold and columns.
        boxes: path → boxes to look at; without any, the whole photo.
        progress: called with the photos done and the photos in all.

    Raises:
        BundleRefused: the bundle cannot be used.
        ConfigError: there is no labelled training photo or no photo, or `out` was not made by this command.
    """
    refuse_foreign(out)
    paths = unlabelled(photos)
    known = read(settings.reader, labelled, validation=0.0).rows
    engine = build_engine(bundle)
    try:
        gallery = build_gallery(engine, labelled, known, settings.product)
        judged = judge(engine, labelled, known, gallery, settings.threshold)
        labelling = _Labelling(gallery, settings.threshold, engine.manifest.model_version)
        rows = list(labelling.of(embed(engine, photos, _boxed(paths, boxes or {}, progress))))
    finally:
        engine.close()
    base = way(out, photos)
    columns = ["path", "box", "split", "domain", gallery.product, *gallery.columns, *PROVENANCE]
    write_table(out, columns, ({**row, "path": (base / row["path"]).as_posix()} for row in rows))
    added = {"added": len(rows), "products": len({row[settings.product] for row in rows})}
    counts = {"photos": len(paths), **labelling.counts, **added}
    return WeakReport(counts, labelling.skipped, _quantiles(labelling.distances), judged)


def unlabelled(photos: Path) -> list[str]:
    """The paths of the photos in a folder, relative to it. Raises ConfigError if there is none."""
    paths = list(photos_below(photos, Found()))  # other files in the folder are no photos that failed
    if not paths:
        raise ConfigError(f"--photos {photos}: there is no JPEG, PNG or WebP file in it")
    return paths


def _boxed(paths: Sequence[str], boxes: Boxes, progress: Progress | None) -> Iterator[Row]:
    for done, path in enumerate(paths, start=1):
        parts = boxes.get(path, ())
        yield from ({"path": path, "box": box_text(box)} for box in parts)
        if not parts:
            yield {"path": path}
        if progress is not None:
            progress(done, len(paths))


class _Labelling:
    """Decides for every box, and counts what it drops."""

    def __init__(self, gallery: Gallery, threshold: float, model: str) -> None:
        self._gallery, self._threshold, self._model = gallery, threshold, model
        self._facts = gallery.facts()
        self._owners: dict[bytes, str] = {}
        self.counts = Counter[str]({"unreadable": 0, "duplicate": 0, "boxes": 0, "too_far": 0})
        self.skipped: dict[str, str] = {}
        self.distances: list[float] = []

    def of(self, seen: Iterable[Seen]) -> Iterator[Row]:
        """Rows of the boxes that are near enough."""
        for s, source, distance in self._gallery.match(s for s in seen if self._usable(s)):
            self.counts["boxes"] += 1
            self.distances.append(distance)
            if distance < self._threshold:
                yield self._row(s.row, source, distance)
            else:
                self.counts["too_far"] += 1

    def _usable(self, seen: Seen) -> bool:
        path, why = seen.row["path"], ""
        if seen.embedding is None:
            kind, why = "unreadable", seen.error
        elif seen.digest in self._gallery.digests:
            kind, why = "duplicate", f"same bytes as the labelled {self._gallery.digests[seen.digest]}"
        elif (owner := self._owners.setdefault(seen.digest, path)) != path:  # all boxes of a photo have its digest
            kind, why = "duplicate", f"same bytes as {owner}"
        if why and path not in self.skipped:
            self.counts[kind] += 1
            self.skipped[path] = why
        return not why

    def _row(self, row: Row, source: Row, distance: float) -> Row:
        product = source[self._gallery.product]
        made = {**row, "split": "train", "domain": "natural", self._gallery.product: product, **self._facts[product]}
        why = ("weak", source["path"], f"{distance:.4f}", f"{self._threshold:g}", self._model)
        return made | dict(zip(PROVENANCE, why, strict=True))


def _quantiles(distances: Sequence[float]) -> dict[str, float]:
    shares = (5, 25, 50, 75, 95)
    return {f"p{q:02d}": round(float(np.percentile(distances, q)), 4) for q in shares} if distances else {}
