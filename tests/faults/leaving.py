"""A seller who leaves, in the workload of schedules with products: while faults go on, all of his listings are
removed."""

from __future__ import annotations

import random

import msgspec

from schemas.events import ListingEvent
from tests.faults.workload import removal

SELLERS = 8
_WHEN = 0.75
"""The share of the events that come before the removals."""


def with_leaving_seller(events: list[ListingEvent], seed: int) -> list[ListingEvent]:
    """Give each listing NAME/0, NAME/1 … one of `SELLERS` sellers, and remove all listings of one of them, even those
    of which nothing was sent yet: what comes later is older."""
    rng = random.Random(f"leaving {seed}")
    sellers = {name: f"seller-{rng.randrange(SELLERS)}" for name in dict.fromkeys(one.listing_id for one in events)}
    leaver = rng.choice(sorted(set(sellers.values())))
    sold = [msgspec.structs.replace(one, seller_id=sellers[one.listing_id]) for one in events]
    gone = [removal(name, int(name.rpartition("/")[2])) for name, seller in sellers.items() if seller == leaver]
    rng.shuffle(gone)
    at = int(_WHEN * len(sold))
    return [*sold[:at], *(msgspec.structs.replace(one, seller_id=leaver) for one in gone), *sold[at:]]
