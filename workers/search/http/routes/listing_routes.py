"""Routes that read stored listings: one, several, similar ones, duplicates, thumbnails, and the newest ones."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import Response

from engines.pixels import picture_kind
from schemas.errors import Transient
from schemas.plain_text import plain, plain_or_none
from schemas.predictions import RemovalMarker, StoredListing
from workers.http.problems import Problem
from workers.http.serving import Health
from workers.search.answers import (
    BatchAnswer,
    BatchRequest,
    DuplicatesAnswer,
    Freshness,
    ImageAnswer,
    ListingAnswer,
    RecentListings,
    SimilarAnswer,
)
from workers.search.find.finder import RERANKED, Finder, Wanted, freshness
from workers.search.find.indexers import Indexers
from workers.search.find.labels.naming import Names, thumbnail_path
from workers.search.http import params
from workers.search.http.json_bodies import answered, json_body
from workers.search.http.stored import StoredListings
from workers.search.http.threads import Threads
from workers.search.settings import SearchSettings

_ID_BYTES = 160  # longest listing id in a JSON body


class ListingHandlers:
    """Answers the routes that read stored listings. Each application has one."""

    def __init__(
        self,
        settings: SearchSettings,
        *,
        indexers: Indexers,
        finder: Finder,
        names: Names,
        stored: StoredListings,
        threads: Threads,
        health: Health,
    ) -> None:
        self._settings, self._health = settings, health
        self._indexers, self._finder, self._names = indexers, finder, names
        self._stored, self._threads = stored, threads

    async def listing(self, request: Request) -> Response:
        """`GET /v1/listings/{listing_id}`."""
        listing_id = params.identifier(request.path_params["listing_id"], "listing_id")
        language = params.language(request, self._settings.language, self._names.languages)
        async with self._threads.in_time():
            stored = await self._stored.get(listing_id)
            fresh = await self._freshness(stored)
            product = (await self._stored.products_of([listing_id])).get(listing_id)
        return answered(self._shown(stored, fresh, language, product))

    async def _freshness(self, stored: StoredListing) -> Freshness:
        try:
            held = await self._threads.read(lambda: self._indexers.listing(stored.listing_id))
        except Transient:
            return freshness(stored, None, searchable=None)
        return freshness(stored, held, searchable=held is not None and held.event_time == stored.event_time)

    def _shown(
        self, stored: StoredListing, fresh: Freshness, language: str, product: str | None = None
    ) -> ListingAnswer:
        named = self._names.named
        return ListingAnswer(
            listing_id=stored.listing_id,
            event_id=stored.event.event_id,
            title=plain_or_none(stored.event.title),
            category=plain_or_none(stored.event.category),
            price=stored.event.price,
            seller_id=stored.event.seller_id,
            state=plain(stored.event.state),
            status=stored.summary.status,
            model_version=stored.model_version,
            epoch=stored.epoch,
            predictions=named(stored.summary.predictions, language, stored.summary.applies),
            applies=self._names.applies(stored.summary.applies),
            images=[
                ImageAnswer(
                    image_id=row.image_id,
                    box=row.box,
                    hash=row.hash,
                    predictions=named(row.predictions, language, row.applies),
                    applies=self._names.applies(row.applies),
                    thumbnail=thumbnail_path(stored.listing_id, row.image_id),
                )
                for row in stored.images
            ],
            bad_images=stored.summary.bad_images,
            freshness=fresh,
            product=product,
        )

    async def batch(self, request: Request) -> Response:
        """`POST /v1/listings:batch`."""
        language, most = (
            params.language(request, self._settings.language, self._names.languages),
            self._settings.max_batch,
        )
        body = await json_body(request, BatchRequest, 1_024 + most * _ID_BYTES, self._settings.upload_timeout_s)
        wanted = list(dict.fromkeys(params.identifier(one, "listing_ids") for one in body.listing_ids))
        if not 1 <= len(wanted) <= most:
            raise Problem(422, "bad-field", f"listing_ids: {len(wanted)} of them; give 1 to {most}")
        async with self._threads.in_time():
            found = await self._stored.get_many(wanted)
            products = await self._stored.products_of(wanted)
        stored = [one for one in (found.get(listing_id) for listing_id in wanted) if isinstance(one, StoredListing)]
        answer = BatchAnswer(
            listings=[
                self._shown(one, freshness(one, None, searchable=None), language, products.get(one.event.listing_id))
                for one in stored
            ],
            removed=[listing_id for listing_id in wanted if isinstance(found.get(listing_id), RemovalMarker)],
            missing=[listing_id for listing_id in wanted if listing_id not in found],
        )
        return answered(answer)

    async def similar(self, request: Request) -> Response:
        """`GET /v1/listings/{listing_id}/similar`."""
        began, settings = time.perf_counter(), self._settings
        listing_id = params.identifier(request.path_params["listing_id"], "listing_id")
        image_id = params.optional_identifier(request, "image_id")
        k = params.number(request, "k", settings.default_k, settings.max_k)
        language, only = params.language(request, settings.language, self._names.languages), params.filters(request)
        reranked = params.flag(request, "rerank", settings.rerank)
        count = max(k, RERANKED) if reranked else k
        async with self._threads.in_time():
            query = await self._stored.query(listing_id, image_id)
            found = await self._threads.read(lambda: self._finder.find(query.hashes, Wanted(count, listing_id, only)))
        answer = SimilarAnswer(
            listing_id=listing_id,
            image_ids=query.image_ids,
            epoch=query.listing.epoch,
            neighbours=self._finder.shown(self._finder.ordered(query.hashes, found, k, reranked=reranked), language),
            reranked=reranked,
            stale=self._health.stale,
            took_s=round(time.perf_counter() - began, 4),
        )
        return answered(answer)

    async def duplicates(self, request: Request) -> Response:
        """`GET /v1/listings/{listing_id}/duplicates`."""
        began, settings = time.perf_counter(), self._settings
        listing_id = params.identifier(request.path_params["listing_id"], "listing_id")
        image_id = params.optional_identifier(request, "image_id")
        radius = params.number(request, "radius", settings.duplicate_radius, settings.max_radius, least=0)
        k = params.number(request, "k", settings.max_k, settings.max_k)
        language = params.language(request, settings.language, self._names.languages)
        async with self._threads.in_time():
            query = await self._stored.query(listing_id, image_id)
            wanted = Wanted(k + 1, listing_id, radius=radius)
            found = await self._threads.read(lambda: self._finder.find(query.hashes, wanted))
        answer = DuplicatesAnswer(
            listing_id=listing_id,
            image_ids=query.image_ids,
            epoch=query.listing.epoch,
            radius=radius,
            duplicates=self._finder.shown(found[:k], language),
            complete=len(found) <= k,
            stale=self._health.stale,
            took_s=round(time.perf_counter() - began, 4),
        )
        return answered(answer)

    async def thumbnail(self, request: Request) -> Response:
        """`GET /v1/thumbnail?listing_id=&image_id=`."""
        listing_id = params.identifier(request.query_params.get("listing_id", ""), "listing_id")
        image_id = params.identifier(request.query_params.get("image_id", ""), "image_id")
        async with self._threads.in_time():
            small = await self._stored.thumbnail(listing_id, image_id)
        if small is None:
            raise Problem(404, "no-thumbnail", f"image_id: no thumbnail of {image_id} of {listing_id} is stored")
        # One minute avoids reloads by the page; a longer time would keep a removed photo visible.
        kind = f"image/{picture_kind(small)}"
        return Response(small, media_type=kind, headers={"cache-control": "private, max-age=60"})

    async def photo(self, request: Request) -> Response:
        """`GET /v1/photo?listing_id=&image_id=`."""
        listing_id = params.identifier(request.query_params.get("listing_id", ""), "listing_id")
        image_id = params.identifier(request.query_params.get("image_id", ""), "image_id")
        async with self._threads.in_time():
            webp = await self._stored.photo(listing_id, image_id)
        return Response(webp, media_type="image/webp", headers={"cache-control": "private, max-age=60"})

    async def recent(self, request: Request) -> Response:
        """`GET /v1/recent`."""
        n = params.number(request, "n", 24, self._settings.max_recent)
        language = params.language(request, self._settings.language, self._names.languages)
        async with self._threads.in_time():
            newest = await self._threads.read(lambda: self._finder.recent(n, language))
        return answered(RecentListings(listings=newest))
