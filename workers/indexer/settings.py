"""What an operator may set on an indexer; every bound has a name, a default and the reason for it."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from engines.similarity import IndexLimits
from schemas.units import Count, Seconds, Whole


class IndexerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[indexer]` of the configuration."""

    host: str = "127.0.0.1"
    """Loopback: only the search service asks it."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    poll_interval_s: Seconds = 0.1
    """Between two looks at a quiet topic: a tenth of a second is lost in an upload that takes seconds."""
    snapshot_interval_s: Seconds = 30.0
    """A restart re-reads at most this much of the topic; a snapshot of a million hashes is 50 MB of writing."""
    snapshot_max_age_s: Seconds = 72_000.0
    """20 h. A log may drop tombstones after a day: an older snapshot could keep a removed listing, and is not used."""
    stale_after_s: Seconds = 30.0
    """Not level with the topic for this long: still answers, says that it is stale."""
    max_listing_hashes: Count = 20
    """Hashes a message; an event has at most 20 images, so that a longer message is refused."""
    max_tombstones: Count = 100_000
    """Dead codes before they are merged away; 3.2 MB, and few beside the codes of a large index."""
    max_pending: Count = 8_192
    """New codes that a search compares one by one, before they are merged: 0.1 ms."""
    exact_below: Count = 1_000_000
    """Hashes from which on the index reads inverted lists instead of every hash (docs/benchmarks/index.md)."""
    multihash_from: Whole = 0
    """Hashes from which on an exact index has a multi-index hash for near duplicates beside it; 0: never. It is slower
    than reading all where hashes crowd as those of a catalogue do (docs/benchmarks/index.md)."""
    probes: Whole = 0
    """Inverted lists that a search reads; 0: a sixteenth of them, at least 128."""
    gpu: bool = False
    """Search exact parts on the first GPU; needs the extra [gpu] in place of [cpu]."""
    partitions: str = ""
    """Of the hash topic that this indexer holds, as `0-3` or `0,2,5-7`; empty: all. Several indexers, each with a home
    and partitions of its own, hold an index together: give the search service all their addresses."""
    max_k: Count = 2_000
    """Neighbours a hash: 100 listings of 20 photos each, what the search service asks for at most."""
    max_query_hashes: Count = 64
    """Hashes a request: three events' photos; a request stays under 50 ms at a million hashes."""
    recent: Annotated[int, Meta(ge=1, le=1000)] = 64
    """Listings that it remembers as applied last, for the live strip of the page."""

    def __post_init__(self) -> None:
        self.owned()

    def owned(self) -> frozenset[int] | None:
        """The partitions of `partitions`, None for all; raises ValueError where it cannot be read."""
        if not self.partitions.strip():
            return None
        found: set[int] = set()
        for part in self.partitions.split(","):
            match = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part, re.ASCII)
            first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
            if last < first:
                raise ValueError(f"partitions: {part.strip()!r} is no range; write 0-3, or 0,2,5-7")
            found.update(range(first, last + 1))
        return frozenset(found)

    def limits(self) -> IndexLimits:
        """What of it bounds the index."""
        return IndexLimits(
            max_pending=self.max_pending,
            max_tombstones=self.max_tombstones,
            exact_below=self.exact_below,
            multihash_from=self.multihash_from,
            probes=self.probes,
            gpu=self.gpu,
        )
