"""What an operator may set on an indexer; every bound has a name, a default and the reason for it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


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
    max_listing_hashes: Positive = 20
    """Hashes a message; an event has at most 20 images, so that a longer message is refused."""
    max_tombstones: Positive = 100_000
    """Dead codes before they are compacted away; 3.2 MB, and few beside the codes of a large index."""
    max_k: Positive = 2_000
    """Neighbours a hash: 100 listings of 20 photos each, what the search service asks for at most."""
    max_query_hashes: Positive = 64
    """Hashes a request: three events' photos; a request stays under 50 ms at a million hashes."""
    recent: Annotated[int, Meta(ge=1, le=1000)] = 64
    """Listings that it remembers as applied last, for the live strip of the page."""
