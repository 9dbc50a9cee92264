"""Suggests a price for a photo or a listing, from the prices of the listings that look like it."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.predictions import StoredListing
from workers import suggestion_metrics as metrics
from workers.price.suggest import Offer, suggest
from workers.search.find.finder import Finder, Found, Wanted
from workers.search.price_answers import PriceSuggestion
from workers.search.settings import SearchSettings

_ASKED = (100, 200)  # listings; more are asked for where so many are of few sellers


class Pricing:
    """Suggests prices. Thread-safe. Calls block, and may raise Transient or EpochMismatch."""

    def __init__(self, finder: Finder, settings: SearchSettings) -> None:
        self._finder, self._settings = finder, settings

    def price(
        self, hashes: Sequence[str], *, listing: StoredListing | None = None, currency: str | None = None
    ) -> PriceSuggestion | None:
        """A price for what has these hashes (64 hex digits each); None if too few sellers have a price.

        `listing`: the stored listing that is asked about. Its own prices and those of its seller do not count, nor do
        those of neighbours in another category. `currency`: by default the listing's, or the one of most sellers.
        """
        own = None if listing is None else listing.event
        if currency is None and own is not None and own.price is not None:
            currency = own.price.currency
        suggestion = None
        for count in _ASKED:
            wanted = Wanted(count, None if listing is None else listing.listing_id, radius=self._settings.close_bits)
            found = self._finder.find(hashes, wanted)
            suggestion = suggest(
                offers_of(found, self._settings.duplicate_radius, None if own is None else own.category),
                support=self._settings.price_support,
                currency=currency,
                without_seller=None if own is None else own.seller_id,
            )
            if suggestion is not None or len(found) < count:
                break
        metrics.PRICES.labels("none" if suggestion is None else suggestion.source).inc()
        if suggestion is None:
            return None
        return PriceSuggestion(
            point=suggestion.point,
            low=suggestion.low,
            high=suggestion.high,
            currency=suggestion.currency,
            source=suggestion.source,
            sellers=suggestion.sellers,
            listings=suggestion.listings,
            left_out=suggestion.left_out,
        )


def offers_of(found: Sequence[Found], radius: int, category: str | None) -> list[Offer]:
    """What the listings ask for that have a price. Neighbours of another category than `category` are left out."""
    products = products_of(found, radius)
    offers = []
    for one in found:
        event = None if one.listing is None else one.listing.event
        if event is None or event.price is None:
            continue
        product = products[one.photo.listing_id]
        if product is not None and category and event.category and event.category != category:
            continue
        offers.append(Offer(event.listing_id, event.price, event.seller_id, one.photo.distance, product))
    return offers


def products_of(found: Sequence[Found], radius: int) -> dict[str, str | None]:
    """The product of each listing, by listing id: None for listings of the product that is asked about, else the id of
    the nearest listing of the same product.

    Two listings are of one product if their photos are within `radius` bits. Where listings are grouped into products,
    this is the place that asks for the group.
    """
    products: dict[str, str | None] = {}
    first: list[tuple[int, str]] = []
    for one in found:
        listing_id = one.photo.listing_id
        if one.photo.distance <= radius:
            products[listing_id] = None
            continue
        code = _code(one)
        near = (name for known, name in first if code is not None and (known ^ code).bit_count() <= radius)
        products[listing_id] = next(near, listing_id)
        if products[listing_id] == listing_id and code is not None:
            first.append((code, listing_id))
    return products


def _code(found: Found) -> int | None:
    if found.listing is None:
        return None
    place = found.photo.image_id, found.photo.box
    return next((int(row.hash, 16) for row in found.listing.images if (row.image_id, row.box) == place), None)
