"""The types of the index: what goes in, what comes out, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

from schemas.boxes import BoxShares
from schemas.errors import ConfigError

CODE_BYTES = 32  # 256 bits, most significant bit first


class Neighbour(NamedTuple):
    """One hash of the index: a photo, or the part of it inside `box`. `distance` is the number of differing bits, out
    of 256."""

    listing_id: str
    image_id: str
    distance: int
    box: BoxShares | None = None


class HeldCode(NamedTuple):
    """The 32-byte hash of a photo, or of the part of it inside `box`."""

    image_id: str
    code: bytes
    box: BoxShares | None = None


@dataclass(frozen=True, slots=True)
class IndexedListing:
    """What the index holds about a listing as of `event_time` (UTC microseconds)."""

    listing_id: str
    event_time: int
    model_version: str
    state: str
    category: str | None
    codes: list[HeldCode]


@dataclass(frozen=True, slots=True)
class IndexStats:
    """Sizes of the index.

    Attributes:
        vectors: codes that a search can find.
        listings: listings that these codes belong to; one without a good photo does not count.
        tombstones: dead codes that no merge has removed yet.
        pending: codes in the tails, which are not merged yet.
        removed: listings whose removal is remembered.
    """

    vectors: int
    listings: int
    tombstones: int
    pending: int
    removed: int


@dataclass(frozen=True, slots=True)
class Where:
    """A filter: the listings whose category and state are among these. None admits any."""

    categories: frozenset[str] | None = None
    states: frozenset[str] | None = None

    def admits(self, state: str, category: str | None) -> bool:
        """Return whether a listing of this state and category may be found."""
        return (self.states is None or state in self.states) and (
            self.categories is None or category in self.categories
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexLimits:
    """Limits of an index. `docs/benchmarks/index.md` has the measurements behind the sizes.

    Raises:
        ConfigError: a number is below 1 where at least 1 is needed, or below 0.
    """

    threads: int = 1
    """FAISS threads for one search. FAISS divides the hashes of a search among threads, so one hash gains nothing from
    a second thread, and waits for it on busy cores (p99 at 1 million codes: 6 ms with 1 thread, 200 ms with 2)."""
    max_pending: int = 8192
    """Codes in the tail before it is merged. 8192 codes cost a search about 0.1 ms."""
    max_tombstones: int = 100_000
    """Dead codes before all parts are merged. A quarter of all codes has the same effect."""
    max_removed: int = 1_000_000
    """Listings whose removal is remembered, about 150 bytes each, so that an older event cannot bring them back.
    Beyond that the oldest removals are forgotten."""
    exact_below: int = 1_000_000
    """A part with at least so many codes uses inverted lists. An exact search reads every code."""
    multihash_from: int = 0
    """An exact part with at least so many codes also gets a multi-index hash for near duplicates; 0 means never. A
    catalogue's hashes share few buckets: with a million codes it took 3.9 ms, and reading all of them 1.1 ms."""
    probes: int = 0
    """Inverted lists that a search reads in a part; 0 means a sixteenth of them, at least 128."""
    background: bool = True
    """Merge in a thread of its own. Otherwise the change that passes a limit merges before it returns."""
    gpu: bool = False
    """Search the exact parts on the first GPU. Needs a FAISS that was built for GPUs."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value < (field.name not in ("multihash_from", "probes", "background", "gpu")):
                raise ConfigError(f"{field.name}: {value} is below 1")
