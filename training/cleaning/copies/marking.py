"""How good a photo is among its copies, and the mark of one that is left out for a better one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.cleaning.copies.fingerprints import Fingerprints
from training.cleaning.marks import Mark, Value
from training.readers.label_table import Row

STEP = "duplicates"
OVERLAY_WEIGHT = 16.0  # doublings that a picture full of border and strokes loses
COMPRESSION_WEIGHT = 0.5  # below 1, because a poor photo that was saved again at a high quality looks uncompressed
_SPLITS = {"test": 0, "val": 1, "gallery": 2}  # the smaller the number, the sooner a photo stays
_NO_SPLIT = 9
_READ = 512  # fingerprints that are read at once: 32 MB of mapped pages, if they lie far apart


def score(record: NDArray[np.void]) -> float:
    """How good a photo is among its copies: one more for twice the area, four times the squared sharpness, or a quarter
    of the compression, and less for overlays."""
    area = max(1.0, float(record["width"]) * float(record["height"]))
    sharp = 0.5 * np.log2(1.0 + float(record["sharpness"]))
    compression = np.log2(max(1.0, float(record["compression"])))
    return float(np.log2(area) + sharp - COMPRESSION_WEIGHT * compression - OVERLAY_WEIGHT * float(record["overlay"]))


class Scored(NamedTuple):
    """A photo's number, and its score."""

    photo: int
    score: float


class Marker:
    """Says which photo of a group is best, and makes the marks of the others."""

    def __init__(self, rows: Sequence[Row], prints: Fingerprints, product: str) -> None:
        """Over the photos of `rows`, in the order of `prints`; `product` is the column whose values a mark mentions."""
        self._rows, self._prints, self._product = rows, prints, product

    def best_first(self, photos: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The places of some photos, the best one first, int64 [n], and their scores in the order given, float64 [n].
        Photos of the splits test, val and gallery come before others."""
        scores = np.empty(len(photos))
        splits = np.empty(len(photos), np.int8)
        for start in range(0, len(photos), _READ):
            some = slice(start, start + _READ)
            scores[some] = [score(record) for record in self._prints.take(photos[some])]
            splits[some] = [self._split(photo) for photo in photos[some].tolist()]
        return np.lexsort((photos, -scores, splits)), scores

    def rank(self, photo: Scored) -> tuple[int, float, int]:
        """Where the photo comes among others: the smallest is the best."""
        return self._split(photo.photo), -photo.score, photo.photo

    def mark(self, photo: Scored, best: Scored, why: dict[str, Value] | None) -> Mark:
        """The mark of a photo that is like a better one.

        Args:
            photo: that is left out.
            best: that stays.
            why: what makes them alike; None if their bytes are equal.
        """
        row, kept = self._rows[photo.photo], self._rows[best.photo]
        said: dict[str, Value] = {"score": round(photo.score, 2), "kept_score": round(best.score, 2)}
        if why is not None:
            said |= why
        if (label := kept.get(self._product, "")) != row.get(self._product, ""):
            said["kept_product"] = label
        return Mark(
            step=STEP,
            what="same_bytes" if why is None else "near_duplicate",
            photo=row["path"],
            why=said,
            group="d" + hashlib.sha256(kept["path"].encode()).hexdigest()[:8],
            kept=kept["path"],
            product=row.get(self._product, ""),
        )

    def _split(self, photo: int) -> int:
        return _SPLITS.get(self._rows[photo].get("split", ""), _NO_SPLIT)
