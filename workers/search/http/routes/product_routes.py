"""`GET /v1/products/{product_id}`: a product, its listings, and the photo that stands for it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from schemas.plain_text import plain_or_none
from schemas.predictions import RemovalMarker, StoredListing
from schemas.products import Product
from workers.http.problems import Problem
from workers.search.answers import ProductAnswer, ProductPhoto
from workers.search.find.labels.naming import thumbnail_path
from workers.search.http import params
from workers.search.http.json_bodies import answered
from workers.search.http.threads import Threads
from workers.stores import Store

MOST_LISTINGS = 200
"""Listings that an answer names; as many as a batch read takes by default."""
_ID = re.compile(r"p-[0-9a-f]{20}")


class ProductHandlers:
    """Answers the route about products. Each application has one."""

    def __init__(self, store: Store, threads: Threads) -> None:
        self._store, self._threads = store, threads

    async def product(self, request: Request) -> Response:
        """`GET /v1/products/{product_id}`."""
        product_id = request.path_params["product_id"]
        if not _ID.fullmatch(product_id):
            raise params.bad("product_id: p- and 20 hex digits are the id of a product; this is none")
        async with self._threads.in_time():
            answer = await self._threads.read(lambda: self._read(product_id))
        return answered(answer)

    def _read(self, asked: str) -> ProductAnswer:
        product = self._surviving(asked)
        listings = [] if product is None else self._store.members(product.product_id)
        stored = self._store.get(listings[:MOST_LISTINGS])
        # the store has the last word, because a worker `products` may be behind
        listings = [one for one in listings if not isinstance(stored.get(one), RemovalMarker)]
        if product is None or not listings:
            detail = f"product_id: no listing belongs to {asked}; the field `product` of a listing names its product"
            raise Problem(404, "no-such-product", detail)
        return ProductAnswer(
            product_id=product.product_id,
            alias=None if product.product_id == asked else asked,
            founded=product.founded,
            size=len(listings),
            listing_ids=listings[:MOST_LISTINGS],
            photo=self._photo(product, listings, stored),
        )

    def _surviving(self, product_id: str) -> Product | None:
        """The product, or the one that an alias stands for. An alias is younger than its survivor, so this ends."""
        product = self._store.product(product_id)
        while product is not None and product.survivor is not None:
            older = self._store.product(product.survivor)
            if older is None or (older.founded, older.product_id) >= (product.founded, product.product_id):
                return None
            product = older
        return product

    @staticmethod
    def _photo(
        product: Product, listings: list[str], stored: Mapping[str, StoredListing | RemovalMarker]
    ) -> ProductPhoto | None:
        """The first good photo of the founder, else of the next listing by id."""
        for listing_id in sorted(listings, key=lambda one: one != product.founder):
            listing = stored.get(listing_id)
            if isinstance(listing, StoredListing) and listing.images:
                image_id = listing.images[0].image_id
                return ProductPhoto(
                    listing_id=listing_id,
                    image_id=image_id,
                    title=plain_or_none(listing.event.title),
                    thumbnail=thumbnail_path(listing_id, image_id),
                )
        return None
