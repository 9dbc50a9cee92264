"""Suggests a price for a photo or a listing, from the prices of the listings that look like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from schemas.predictions import StoredListing
from workers.price.suggest import Offer, suggest
from workers.search.find.finder import Finder, Found, Wanted
from workers.search.price_answers import PriceSuggestion
from workers.search.settings import SearchSettings
from workers.stores import Store
from workers.watching import suggestion_metrics as metrics

_ASKED = (100, 200)  # listings; more are asked for where so many are of few sellers


class Pricing:
    """Suggests prices. Thread-safe. Calls block, and may raise Transient or EpochMismatch."""

    def __init__(self, finder: Finder, store: Store, settings: SearchSettings) -> None:
        self._finder, self._store, self._settings = finder, store, settings

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
            asked = [] if listing is None else [listing.listing_id]
            grouped = self._store.products_of([*asked, *(one.photo.listing_id for one in found)])
            products = products_of(found, self._settings.duplicate_radius, grouped, *asked)
            suggestion = suggest(
                offers_of(found, products, None if own is None else own.category),
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


def offers_of(found: Sequence[Found], products: Mapping[str, str | None], category: str | None) -> list[Offer]:
    """What the listings ask for that have a price. `products` are those of `products_of`. Neighbours of another
    category than `category` are left out."""
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


def products_of(
    found: Sequence[Found], radius: int, grouped: Mapping[str, str], asked: str | None = None
) -> dict[str, str | None]:
    """The product of each listing, by listing id: None for listings of the product that is asked about, else a name
    that listings of one product share.

    Of one product are listings that the products worker has put together (`grouped`: by listing id, where it runs), and
    listings whose photos are within `radius` bits, the nearest first. `asked`: the listing that is asked about.
    """
    near = {one.photo.listing_id for one in found if one.photo.distance <= radius}
    own = {grouped[name] for name in (*near, *([] if asked is None else [asked])) if name in grouped}
    products: dict[str, str | None] = {}
    first: list[tuple[int, str]] = []
    for one in found:
        listing_id = one.photo.listing_id
        product = grouped.get(listing_id)
        if listing_id in near or product in own:
            products[listing_id] = None
            continue
        code = _code(one)
        if product is None:
            alike = (name for known, name in first if code is not None and (known ^ code).bit_count() <= radius)
            product = next(alike, listing_id)
        if code is not None and product not in products.values():
            first.append((code, product))
        products[listing_id] = product
    return products


def _code(found: Found) -> int | None:
    if found.listing is None:
        return None
    place = found.photo.image_id, found.photo.box
    return next((int(row.hash, 16) for row in found.listing.images if (row.image_id, row.box) == place), None)
