"""What an operator may set on an indexer; each limit has a name, a default and a reason."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from engines.similarity import IndexLimits
from schemas.units import Count, Seconds, Whole


class IndexerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The worker that follows the hash topic and keeps the live index."""

    host: str = "127.0.0.1"
    """Loopback, because only the search service calls it."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 9580
    """0 takes any free port. If you set none and 9580 is taken, any free port is used; the target list of `groknet run
    all` names it."""
    allowed_hosts: tuple[str, ...] = ()
    """Names under which programs call this worker; loopback names, `host` and plain addresses always work, and `*`
    allows every name."""
    poll_interval_s: Seconds = 0.1
    """Time between two polls of a quiet topic. 0.1 s is short for an upload that takes seconds."""
    snapshot_interval_s: Seconds = 30.0
    """Time between two snapshots. A restart reads the topic again from the last one. A million hashes make 50 MB."""
    snapshot_max_age_s: Seconds = 72_000.0
    """20 h. A log may delete tombstones after a day, so an older snapshot could keep a removed listing and is not
    used."""
    stale_after_s: Seconds = 30.0
    """If the index has not caught up with the topic for so long, it still answers but reports that it is stale."""
    max_listing_hashes: Count = 1_280
    """Hashes in a message. At most 20 images of an event are used, each with at most 64 boxes, so a message with more
    is refused."""
    max_tombstones: Count = 100_000
    """Deleted codes before a merge removes them; 100,000 take 3.2 MB."""
    max_pending: Count = 8_192
    """New codes before a merge. A search compares them one by one, which takes 0.1 ms for 8,192."""
    exact_below: Count = 1_000_000
    """From so many hashes the index reads inverted lists instead of every hash (docs/benchmarks/index.md)."""
    multihash_from: Whole = 0
    """From so many hashes an exact index also keeps a multi-index hash for near duplicates; 0: never. It is slower than
    reading every hash if many hashes are close together, as in a catalogue (docs/benchmarks/index.md)."""
    probes: Whole = 0
    """The number of inverted lists that a search reads; 0: a sixteenth of them, at least 128."""
    gpu: bool = False
    """Search exact parts on the first GPU. Needs the extra [gpu] instead of [cpu]."""
    partitions: str = ""
    """The partitions of the hash topic that this indexer holds, as `0-3` or `0,2,5-7`; empty: all. Several indexers can
    share an index: give each one its own home and partitions, and give the search service all their addresses."""
    max_k: Count = 2_000
    """Neighbours of one hash. The search service asks for at most 100 listings of 20 photos each."""
    max_query_hashes: Count = 64
    """Hashes in a request: the photos of three listings. A request takes less than 50 ms with a million hashes."""
    recent: Annotated[int, Meta(ge=1, le=1000)] = 64
    """The number of newest listings that it remembers for the live strip of the page."""

    def __post_init__(self) -> None:
        self.owned()

    def owned(self) -> frozenset[int] | None:
        """The numbers in `partitions`; None for all. Raises ValueError if the text cannot be parsed."""
        if not self.partitions.strip():
            return None
        found: set[int] = set()
        for part in self.partitions.split(","):
            match = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part, re.ASCII)
            first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
            if last < first:
                raise ValueError(f"partitions: {part.strip()!r} is not a range; write 0-3, or 0,2,5-7")
            found.update(range(first, last + 1))
        return frozenset(found)

    def limits(self) -> IndexLimits:
        """The limits of the index."""
        return IndexLimits(
            max_pending=self.max_pending,
            max_tombstones=self.max_tombstones,
            exact_below=self.exact_below,
            multihash_from=self.multihash_from,
            probes=self.probes,
            gpu=self.gpu,
        )
