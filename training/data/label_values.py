"""Which labels a row has for a head, and which labels a head has. It needs no torch, so a recipe is checked at once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping

from schemas.errors import ConfigError
from training.readers.cautions import LEARNT
from training.readers.label_table import Row, multiple
from training.readers.query_words import query_words
from training.recipe import HeadSpec


def labels_of(head: HeadSpec, row: Row | None) -> frozenset[str]:
    """The labels of a row for a head, after `merge`. A row of another data set is None and has none."""
    if row is None:
        return frozenset()
    if head.source == "queries":
        return query_words(row)
    value = row.get(head.column, "")
    if head.source == "partition":
        return frozenset([_part(head, value)] if value else [])
    labels = multiple(value) if head.kind == "multi_label" else [value]
    return frozenset(head.merge.get(label, label) for label in labels) - {"", "NA"}


def values_of(head: HeadSpec, counts: Mapping[str, int]) -> list[str]:
    """The labels of a head in the order of its outputs, from the number of training photos of each label.

    Raises:
        ConfigError: there are fewer than two.
    """
    values = sorted(v for v, n in counts.items() if n >= head.min_photos)
    if len(values) < 2:
        raise ConfigError(
            f"heads[{head.id}].column: {len(values)} labels in column {head.column!r} have {head.min_photos} training "
            "photos or more; a head needs two, so lower min_photos or add photos"
        )
    return values


def check_labels(head: HeadSpec, rows: Iterable[Row]) -> None:
    """Refuse a head that has fewer than two labels in the rows of its data sets, or a key of `merge` or `names` that no
    row has, before any photo is decoded.

    Raises:
        ConfigError: `heads[ID].column: …`, `heads[ID].merge: …` or `heads[ID].names: …`.
    """
    every = list(rows)
    learnt = (row for row in every if row["split"] in LEARNT)
    values = values_of(head, Counter(label for row in learnt for label in labels_of(head, row)))
    texts = {text for row in every for text in multiple(row.get(head.column, ""))}
    for text in head.merge:
        if text not in texts:
            raise ConfigError(f"heads[{head.id}].merge: no row has {text!r} in column {head.column!r}; remove it")
    for label in head.names:
        if label not in values:
            some = ", ".join(values[:10])
            raise ConfigError(f"heads[{head.id}].names: no label {label!r}; the labels are {some}")


def _part(head: HeadSpec, value: str) -> str:
    digest = hashlib.blake2b(f"{head.id}/{value}".encode(), digest_size=8).digest()
    return f"part-{int.from_bytes(digest, 'big') % head.parts}"
