"""What an operator may set on a back-fill; every bound has a name, a default and the reason for it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.units import Count, NotNegative, Seconds, Share


class BackfillSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[backfill]` of the configuration."""

    listings_per_s: NotNegative = 50.0
    """At most so many, so that store, hosts of photos and cores stay free for live listings; 0: no bound."""
    listings_at_once: Count = 8
    """Fetched, tagged and written together; 160 photos of 20 each at worst, 12 MB of pixels."""
    fetch_threads: Count = 4
    """Fetching waits for hosts; four hide one another's waits."""
    min_coverage: Share = 0.99
    """Of the store's listings that an epoch must hold before a switch to it: what stays behind is photos that their
    hosts have lost."""
    delivery_timeout_s: Seconds = 30.0
    in_place_tries: Count = 5
    """Tries against a store or broker that may recover, 0.1 s doubling to 5 s, before the back-fill ends."""
    thumbnail_side: Annotated[int, Meta(ge=16, le=512)] = 160
