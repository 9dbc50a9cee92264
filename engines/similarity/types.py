"""What goes into and comes out of the index, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

from schemas.errors import ConfigError

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
    """Sizes: `vectors` that a search can find, of how many `listings` (without those that have no good photo);
    `tombstones`, dead codes not yet merged away; `pending`, codes in the parts that grow, not yet merged; `removed`,
    listings whose removal is remembered."""

    vectors: int
    listings: int
    tombstones: int
    pending: int
    removed: int


@dataclass(frozen=True, slots=True)
class Where:
    """Which listings a search may find: the seller's category is one of these, the state is one of these; None: any."""

    categories: frozenset[str] | None = None
    states: frozenset[str] | None = None

    def admits(self, state: str, category: str | None) -> bool:
        """True when a listing of this state and category may be found."""
        return (self.states is None or state in self.states) and (
            self.categories is None or category in self.categories
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexLimits:
    """Bounds of an index; docs/benchmarks/index.md has the measurements behind the sizes. Raises ConfigError."""

    threads: int = 1
    """Of FAISS for one search. It shares out the hashes of a search, so that one hash gains nothing from a second
    thread, and on busy cores waits for it (p99 of 1 million codes: 6 ms with 1, 200 with 2)."""
    max_pending: int = 8192
    """Codes in the growing part before they are merged: 8192 cost a search about 0.1 ms."""
    max_tombstones: int = 100_000
    """Dead codes before all parts are merged; that also happens once a quarter of all codes are dead."""
    max_removed: int = 1_000_000
    """Listings whose removal is remembered, so that an older event cannot bring them back (about 150 bytes each);
    beyond, those that came first are forgotten."""
    exact_below: int = 1_000_000
    """Codes of a part from which on it is kept in inverted lists: exact search reads every code."""
    multihash_from: int = 0
    """Codes of an exact part from which on it has a multi-index hash for near duplicates beside it; 0: never. Hashes
    of a catalogue crowd into few buckets: at a million it took 3.9 ms, reading all 1.1 (docs/benchmarks/index.md)."""
    probes: int = 0
    """Lists that a search reads of a part in inverted lists; 0: a sixteenth of them, at least 128."""
    background: bool = True
    """Merge in a thread beside the writer; else the change that passes a bound merges before it returns."""
    gpu: bool = False
    """Search the exact part on the first GPU; needs a FAISS that was built for it."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value < (field.name not in ("multihash_from", "probes", "background", "gpu")):
                raise ConfigError(f"{field.name}: {value} is below 1")
