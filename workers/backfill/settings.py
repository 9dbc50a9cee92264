"""What an operator may set on a back-fill; each limit has a name, a default and a reason."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.units import Count, NotNegative, Seconds, Share


class BackfillSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The job that tags stored listings again, for a new epoch."""

    listings_per_s: NotNegative = 50.0
    """At most so many, so that the store, photo hosts and cores stay free for live listings; 0: no limit."""
    listings_at_once: Count = 8
    """Listings that are fetched, tagged and written together. 8 listings of 20 photos have 12 MB of pixels. In
    an epoch with a detector they have up to 480 MB until their products are cut out; lower this if memory is scarce."""
    fetch_threads: Count = 4
    """Threads that fetch photos, in each process that does. While one waits for a host, the others continue."""
    min_coverage: Share = 0.99
    """The share of the store's listings (0 to 1) that an epoch must hold before a switch to it. The rest is for photos
    that their hosts have lost."""
    delivery_timeout_s: Seconds = 30.0
    """The longest wait for the stream to confirm what was published. After that it is published again."""
    in_place_tries: Count = 5
    """Tries against a store or broker before the back-fill ends. The pauses between them double from 0.1 s to 5 s."""
    thumbnail_side: Annotated[int, Meta(ge=16, le=512)] = 320
    """Pixels of the longer side of a small picture. The same as in `[tagger]`."""
