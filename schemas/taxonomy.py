"""The taxonomy: heads and labels with ids that stay the same across models, and display names by language.

A head's place in the network and a label's index may change with every training run. Their ids may not change. Recipes
name a taxonomy file. Training adds labels that are in the data and not in the taxonomy, with an id made by `slug`.
"""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Literal

import msgspec

from schemas.manifest import StableId, Strict


class TaxonomyLabel(Strict, frozen=True, kw_only=True):
    """A label. `value` is its text in the data's column, `display` its name by language (BCP 47)."""

    id: StableId
    value: str
    display: dict[str, str] = msgspec.field(default_factory=dict)


class TaxonomyHead(Strict, frozen=True, kw_only=True):
    """A head. Its labels exclude each other (`softmax`), or several may be true (`multi_label`)."""

    id: StableId
    kind: Literal["softmax", "multi_label"]
    column: str
    datasets: list[str]
    display: dict[str, str] = msgspec.field(default_factory=dict)
    labels: list[TaxonomyLabel]


class Taxonomy(Strict, frozen=True, kw_only=True):
    """All heads of one taxonomy. Ids are unique."""

    version: int = 1
    heads: list[TaxonomyHead]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for head in self.heads:
            if head.id in seen:
                raise ValueError(f"heads: {head.id} is there twice")
            seen.add(head.id)
            if len({label.id for label in head.labels}) != len(head.labels):
                raise ValueError(f"heads[{head.id}].labels: two labels share one id")


MARKET = Path(__file__).with_name("taxonomies") / "market.json"  # the taxonomy of the demo bundle


def slug(text: str) -> str:
    """Return an id for a label's text: ASCII, lower case, words joined by `-`; `x` if nothing remains."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_text).strip("-")[:100] or "x"


def load_taxonomy(path: Path) -> Taxonomy:
    """Read a taxonomy file. Raises msgspec.ValidationError, which names the field."""
    return msgspec.json.decode(Path(path).read_bytes(), type=Taxonomy)
