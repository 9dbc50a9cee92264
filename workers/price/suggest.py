"""Decides whose prices count, and makes a suggestion of them.

Prices are never converted: a suggestion is in one currency, and prices in others are left out. A seller counts once,
whatever the number of his listings, so that nobody decides alone. What leaves names no seller.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from schemas.events import Price
from workers.price.interval import Interval, between, interval_of, near, weighted_median, within_of
from workers.price.money import LARGEST_LOG, amount_of, log_of

Source = Literal["copies", "neighbours"]
_WIDEST = math.log(1_000)  # of high ÷ low; strangers may write any price
_HALF_WEIGHT_BITS = 32  # a neighbour that is so much farther away counts half


@dataclass(frozen=True, slots=True)
class Offer:
    """What one listing asks for. `distance`: bits of 256 that differ. `product` is a name of its product that is equal
    for listings of one product; None for listings of the product that is asked about. `seller` is None if nobody said
    who sells: then the listing counts as a seller of its own."""

    listing_id: str
    price: Price
    seller: str | None
    distance: int
    product: str | None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A suggested price: exact amounts in `currency`. `sellers` and `listings` count what it is made of, without the
    prices that are far from the others (`left_out`, of sellers)."""

    point: str
    low: str
    high: str
    currency: str
    sellers: int
    listings: int
    left_out: int
    source: Source


@dataclass(frozen=True, slots=True)
class _Vote:
    """One seller's price as a natural logarithm, and how many listings it is made of."""

    log: float
    weight: float
    listings: int


def suggest(
    offers: Iterable[Offer], *, support: int, currency: str | None = None, without_seller: str | None = None
) -> Suggestion | None:
    """A price for a product, from the offers of it and of products that look like it.

    The sellers of the product itself count alone if there are at least `support` of them. Otherwise its neighbours
    count as well: of each neighbouring product one seller's price, because ten sellers of one neighbour say little more
    about this product than one does.

    `currency`: the asker's; by default the one that most sellers use. `without_seller`: the asker, who is not asked.

    Returns:
        None if fewer than `support` sellers are left that use the currency, or if their prices disagree too much.
    """
    asked = [
        (offer, log)
        for offer in offers
        if (without_seller is None or offer.seller != without_seller) and (log := log_of(offer.price)) is not None
    ]
    chosen = currency or _most_supported([offer for offer, _ in asked])
    if chosen is None:
        return None
    usable = sorted(
        (one for one in asked if one[0].price.currency == chosen), key=lambda one: (one[0].distance, one[0].listing_id)
    )
    own = list(_own_votes(usable).values())
    if len(own) >= support and (made := _from_copies(own, support, chosen)):
        return made
    return _from_neighbours(own, usable, support, chosen)


def _seller(offer: Offer) -> str:
    return f"seller {offer.seller}" if offer.seller is not None else f"listing {offer.listing_id}"


def _most_supported(offers: Sequence[Offer]) -> str | None:
    """The currency that most sellers use; of several the first by its letters."""
    sellers: dict[str, set[str]] = defaultdict(set)
    for offer in offers:
        sellers[offer.price.currency].add(_seller(offer))
    return min(sellers, key=lambda code: (-len(sellers[code]), code), default=None)


def _own_votes(usable: Sequence[tuple[Offer, float]]) -> dict[str, _Vote]:
    """By seller, the median of the prices of this very product."""
    logs: dict[str, list[float]] = defaultdict(list)
    for offer, log in usable:
        if offer.product is None:
            logs[_seller(offer)].append(log)
    return {
        seller: _Vote(weighted_median(np.asarray(found), np.ones(len(found))), 1.0, len(found))
        for seller, found in logs.items()
    }


def _neighbour_votes(usable: Sequence[tuple[Offer, float]]) -> list[_Vote]:
    """The nearest offer of each neighbouring product, each seller once and no seller of the product itself."""
    products: set[str] = set()
    sellers = {_seller(offer) for offer, _ in usable if offer.product is None}
    votes = []
    for offer, log in usable:
        if offer.product is None or offer.product in products or _seller(offer) in sellers:
            continue
        products.add(offer.product)
        sellers.add(_seller(offer))
        votes.append(_Vote(log, 2.0 ** (-offer.distance / _HALF_WEIGHT_BITS), 1))
    return votes


def _from_copies(votes: Sequence[_Vote], support: int, currency: str) -> Suggestion | None:
    found = interval_of([vote.log for vote in votes], [vote.weight for vote in votes])
    if found is None or len(found.kept) < support:
        return None
    return _suggestion(found, [votes[place] for place in found.kept], len(votes), currency, "copies")


def _from_neighbours(
    own: Sequence[_Vote], usable: Sequence[tuple[Offer, float]], support: int, currency: str
) -> Suggestion | None:
    """A suggestion of the neighbours and of the few prices of the product itself (`own`)."""
    votes = _neighbour_votes(usable)
    found = interval_of([vote.log for vote in votes], [vote.weight for vote in votes])
    if found is None:
        return None
    kept = [votes[place] for place in found.kept]
    whole = [vote.log for vote in (*own, *kept)]
    fits = near(np.asarray(whole), np.ones(len(whole)))[: len(own)]
    few = [vote for vote, fit in zip(own, fits, strict=True) if fit]
    if len(few) + len(kept) < support:
        return None
    if few:
        within = within_of(_by_product(usable))
        if within is not None:
            found = between([vote.log for vote in few], found, within)
        else:  # every neighbour has one seller: nothing tells the product's own prices from those of its neighbours
            found = interval_of([vote.log for vote in (*few, *kept)], [vote.weight for vote in (*few, *kept)]) or found
    return _suggestion(found, [*few, *kept], len(own) + len(votes), currency, "neighbours")


def _by_product(usable: Sequence[tuple[Offer, float]]) -> list[list[float]]:
    """For each product with several sellers, one log price of each, without those that are far from all others."""
    logs = np.asarray([log for _, log in usable])
    products: dict[str | None, dict[str, float]] = defaultdict(dict)
    for (offer, log), fits in zip(usable, near(logs, np.ones(len(logs))), strict=True):
        if fits:
            products[offer.product].setdefault(_seller(offer), log)
    return [list(one.values()) for one in products.values() if len(one) > 1]


def _suggestion(
    found: Interval, counted: Sequence[_Vote], asked: int, currency: str, source: Source
) -> Suggestion | None:
    """None if the prices disagree so much that an interval says nothing, or if its end is no amount that we write."""
    if found.high - found.low > _WIDEST or found.high > LARGEST_LOG:
        return None
    return Suggestion(
        point=amount_of(found.point, currency, "nearest"),
        low=amount_of(found.low, currency, "down"),
        high=amount_of(found.high, currency, "up"),
        currency=currency,
        sellers=len(counted),
        listings=sum(vote.listings for vote in counted),
        left_out=asked - len(counted),
        source=source,
    )
