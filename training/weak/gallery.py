"""The labelled photos that unlabelled ones are compared with, and how good the comparison is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.recognition import RecognitionEngine
from schemas.errors import ConfigError
from training.readers import read_photo
from training.readers.label_table import Row
from training.weak.embeddings import COMPARED, Floats, Seen, chunks, embed, nearest, sha256
from training.weak.label_files import SOURCE

PROVENANCE = (SOURCE, "weak_from", "weak_distance", "weak_threshold", "weak_model")
LADDER = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)  # further thresholds that are judged, to help choose the next one
_OWN = frozenset({"path", "split", "domain", "box", *PROVENANCE})  # they describe a photo, not its product


@dataclass(frozen=True, eq=False)
class Gallery:
    """Training and catalogue photos.

    Attributes:
        product: the column of the product.
        rows: of the photos.
        vectors: `float32 [m, d]`, their embeddings, unit rows.
        columns: the columns that have one value for each product.
        digests: sha256 of every labelled photo of any split → its path.
    """

    product: str
    rows: list[Row]
    vectors: Floats
    columns: list[str]
    digests: dict[bytes, str]

    def match(self, seen: Iterable[Seen]) -> Iterator[tuple[Seen, Row, float]]:
        """Every photo with its nearest labelled row and the squared distance. Photos without embedding are left out."""
        for some in chunks((s for s in seen if s.embedding is not None), COMPARED):
            places, distances = nearest(np.stack([s.embedding for s in some if s.embedding is not None]), self.vectors)
            for s, place, distance in zip(some, places.tolist(), distances.tolist(), strict=True):
                yield s, self.rows[place], distance

    def facts(self) -> dict[str, Row]:
        """Product → its values of `columns`."""
        facts: dict[str, Row] = {}
        for row in self.rows:
            known = facts.setdefault(row[self.product], {})
            known.update({column: row[column] for column in self.columns if row.get(column)})
        return facts


def build_gallery(engine: RecognitionEngine, folder: Path, rows: Sequence[Row], product: str) -> Gallery:
    """Embed the training and catalogue photos of `rows`.

    Raises:
        ConfigError: none of them has a label in column `product`.
    """
    own = [row for row in rows if _learnt(row) and row.get(product)]
    seen = [s for s in embed(engine, folder, own) if s.embedding is not None]
    if not seen:
        there = ", ".join(rows[0])
        raise ConfigError(f"data: {folder} has no training photo with a label in column {product!r}; it has {there}")
    digests = {s.digest: s.row["path"] for s in seen}
    digests |= {digest: row["path"] for row in rows if not _learnt(row) and (digest := _digest(folder, row))}
    vectors = np.stack([s.embedding for s in seen if s.embedding is not None])
    return Gallery(product, [s.row for s in seen], vectors, determined(own, product), digests)


def determined(rows: Sequence[Row], product: str) -> list[str]:
    """The columns in which no product has two values, so that a product's value holds for every photo of it."""
    values: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        for column, value in row.items():
            if column not in _OWN and column != product and value:
                values.setdefault((column, row[product]), set()).add(value)
    ambiguous = {column for (column, _), found in values.items() if len(found) > 1}
    return sorted({column for column, _ in values} - ambiguous)


def judge(
    engine: RecognitionEngine, folder: Path, rows: Sequence[Row], gallery: Gallery, threshold: float
) -> list[dict[str, float]]:
    """How good thresholds are on the validation photos: one entry for `threshold` and each of LADDER, in order.

    An entry has `photos`, the share that is `covered` (nearer than the threshold), and the share of these that is
    `right`. Photos of products that are not in the gallery count too, because most unlabelled photos will show such
    products. Without validation photos the list is empty.
    """
    own = [row for row in rows if row["split"] == "val" and row.get(gallery.product)]
    judged = [
        (distance, source[gallery.product] == seen.row[gallery.product])
        for seen, source, distance in gallery.match(embed(engine, folder, own))
    ]
    return [_judged(judged, limit) for limit in sorted({*LADDER, threshold})] if judged else []


def _judged(judged: Sequence[tuple[float, bool]], limit: float) -> dict[str, float]:
    near = [right for distance, right in judged if distance < limit]
    entry = {"threshold": limit, "photos": len(judged), "covered": round(len(near) / len(judged), 4)}
    return entry | ({"right": round(sum(near) / len(near), 4)} if near else {})


def _learnt(row: Row) -> bool:
    return row["split"] in ("train", "gallery")


def _digest(folder: Path, row: Row) -> bytes:
    try:
        return sha256(read_photo(folder, row["path"]))
    except OSError:
        return b""
