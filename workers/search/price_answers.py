"""The type of a suggested price, which several answers have."""

from __future__ import annotations

from typing import Literal

import msgspec


class PriceSuggestion(msgspec.Struct, frozen=True, kw_only=True):
    """A price to suggest: `point`, and an interval from `low` to `high` that has nine of ten prices of this product.

    The amounts are exact decimal text in the currency's main unit; prices are never converted. `from` is `copies` if
    the prices are those of listings of this very product, and `neighbours` if those of products that look like it count
    as well. `sellers` and `listings` count whose prices these are. `left_out` sellers ask a price that is far from the
    others.
    """

    point: str
    low: str
    high: str
    currency: str
    source: Literal["copies", "neighbours"] = msgspec.field(name="from")
    sellers: int
    listings: int
    left_out: int
