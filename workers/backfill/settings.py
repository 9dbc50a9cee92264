"""What an operator may set on a back-fill; every bound has a name, a default and the reason for it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class BackfillSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section `[backfill]` of the configuration."""

    listings_per_s: Annotated[float, Meta(ge=0)] = 50.0
    """At most so many, so that store, hosts of photos and cores stay free for live listings; 0: no bound."""
    listings_at_once: Positive = 8
    """Fetched, tagged and written together; 160 photos of 20 each at worst, 12 MB of pixels."""
    fetch_threads: Positive = 4
    """Fetching waits for hosts; four hide one another's waits."""
    min_coverage: Annotated[float, Meta(ge=0, le=1)] = 0.99
    """Of the store's listings that an epoch must hold before a switch to it: what stays behind is photos that their
    hosts have lost."""
    delivery_timeout_s: Seconds = 30.0
    in_place_tries: Positive = 5
    """Tries against a store or broker that may recover, 0.1 s doubling to 5 s, before the back-fill ends."""
    thumbnail_side: Annotated[int, Meta(ge=16, le=512)] = 160
