"""What goes into and comes out of the index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

CODE_BYTES = 32  # 256 bits, most significant bit first


class Neighbour(NamedTuple):
    """One photo of the index; `distance` counts the bits of 256 that differ."""

    listing_id: str
    image_id: str
    distance: int


@dataclass(frozen=True, slots=True)
class IndexedListing:
    """What the index holds of a listing as of `event_time` (UTC microseconds): the 32-byte hash of each image."""

    listing_id: str
    event_time: int
    model_version: str
    state: str
    category: str | None
    images: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class IndexStats:
    """Sizes: `vectors` that a search can find, of how many `listings`; `tombstones`, dead codes not yet compacted
    away; `pending`, codes in the part that grows, not yet merged; `removed`, listings whose removal is remembered."""

    vectors: int
    listings: int
    tombstones: int
    pending: int
    removed: int
