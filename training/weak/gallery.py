"""The labelled photos that unlabelled ones are compared with, and what the comparison is worth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.recognition import RecognitionEngine
from schemas.errors import ConfigError
from training.readers import read_photo
from training.table import Row
from training.weak.embed import COMPARED, Floats, Seen, chunks, embed, nearest, sha256
from training.weak.tables import SOURCE

PROVENANCE = (SOURCE, "weak_from", "weak_distance", "weak_threshold", "weak_model")
_OWN = frozenset({"path", "split", "domain", "box", *PROVENANCE})  # of one photo, not of its product


@dataclass(frozen=True, eq=False)
class Gallery:
    """Training and catalogue photos: `rows`, their embeddings `vectors float32 [m, d]`, the `product` column, the
    `columns` that a product decides, and `digests`: sha256 of every labelled photo of any split → its path."""

    product: str
    rows: list[Row]
    vectors: Floats
    columns: list[str]
    digests: dict[bytes, str]

    def match(self, seen: Iterable[Seen]) -> Iterator[tuple[Seen, Row, float]]:
        """Each with its nearest labelled photo and the squared distance; those without embedding are left out."""
        for some in chunks((s for s in seen if s.embedding is not None), COMPARED):
            places, distances = nearest(np.stack([s.embedding for s in some if s.embedding is not None]), self.vectors)
            for s, place, distance in zip(some, places.tolist(), distances.tolist(), strict=True):
                yield s, self.rows[place], distance

    def facts(self) -> dict[str, Row]:
        """Product → the columns that it decides."""
        facts: dict[str, Row] = {}
        for row in self.rows:
            known = facts.setdefault(row[self.product], {})
            known.update({column: row[column] for column in self.columns if row.get(column)})
        return facts


def build_gallery(engine: RecognitionEngine, folder: Path, rows: Sequence[Row], product: str) -> Gallery:
    """Embed the training and catalogue photos; raises ConfigError when none has a label in column `product`."""
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
    """Columns in which no product has two values: what holds of the product holds of every photo of it."""
    values: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        for column, value in row.items():
            if column not in _OWN and column != product and value:
                values.setdefault((column, row[product]), set()).add(value)
    ambiguous = {column for (column, _), found in values.items() if len(found) > 1}
    return sorted({column for column, _ in values} - ambiguous)


def judge(
    engine: RecognitionEngine, folder: Path, rows: Sequence[Row], gallery: Gallery, threshold: float
) -> dict[str, float]:
    """On validation photos: `photos` looked at, share `covered` by the threshold, and of these the share `right`.

    Photos of products that the gallery lacks count too: unlabelled photos will mostly be of such. Empty without any.
    """
    own = [row for row in rows if row["split"] == "val" and row.get(gallery.product)]
    near = right = total = 0
    for seen, source, distance in gallery.match(embed(engine, folder, own)):
        total += 1
        near += distance < threshold
        right += distance < threshold and source[gallery.product] == seen.row[gallery.product]
    if not total:
        return {}
    return {"photos": total, "covered": round(near / total, 4), **({"right": round(right / near, 4)} if near else {})}


def _learnt(row: Row) -> bool:
    return row["split"] in ("train", "gallery")


def _digest(folder: Path, row: Row) -> bytes:
    try:
        return sha256(read_photo(folder, row["path"]))
    except OSError:
        return b""
