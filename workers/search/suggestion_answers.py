"""The types of the answers about a product: its price, what goes with it, and the scenes in which it is."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.events import Price
from workers.search.answers import Similar
from workers.search.price_answers import PriceSuggestion


class PriceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/listings/{listing_id}/price`: a price to suggest. `price` is null if fewer than `support` other sellers
    have a price in the currency that is not far from the others."""

    listing_id: str
    epoch: str
    price: PriceSuggestion | None
    support: int
    stale: bool
    took_s: float


Companionship = Literal["counts", "neighbours", "categories"]


class Companion(msgspec.Struct, frozen=True, kw_only=True):
    """A listing that goes with another. `from` says how that is known: `counts` if the two were together, `neighbours`
    if this one was together with listings that look like the other, and `categories` if it was together with listings
    of its category. `together` is on how many occasions. `score` falls with the order of the answer within one
    `from`."""

    listing_id: str
    title: str | None
    category: str | None
    price: Price | None
    tags: list[str]
    thumbnail: str
    source: Companionship = msgspec.field(name="from")
    together: int
    score: float


class GoesWithAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/listings/{listing_id}/goes-with`: listings that were together with this one in carts, views or scenes,
    the best first. `occasions`: on how many occasions this listing was; 0 is a cold start. `stale`: the index or the
    counts are behind."""

    listing_id: str
    occasions: int
    companions: list[Companion]
    stale: bool
    took_s: float


class ScenesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/listings/{listing_id}/scenes`: photos of other listings, a box of which is within `radius` bits of a
    photo of this listing, the nearest first. `box` of each says where it is seen. It is empty without a detector."""

    listing_id: str
    epoch: str
    radius: int
    scenes: list[Similar]
    stale: bool
    took_s: float
