"""Routes about the product of a stored listing: its price, what goes with it, and the scenes in which it is."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from schemas.predictions import StoredListing
from workers.catching_up import CatchingUp
from workers.http.problems import Problem
from workers.http.serving import Health
from workers.search.find.finder import Finder, Wanted
from workers.search.find.goes_with import GoesWith
from workers.search.find.labels.naming import Names
from workers.search.find.pricing import Pricing
from workers.search.http import params
from workers.search.http.json_bodies import answered
from workers.search.http.stored import StoredListings
from workers.search.http.threads import Threads
from workers.search.settings import SearchSettings
from workers.search.suggestion_answers import GoesWithAnswer, PriceAnswer, ScenesAnswer
from workers.stores import Store
from workers.streams import Stream
from workers.together.follower import Follower
from workers.watching import suggestion_metrics as metrics

Endpoint = Callable[[Request], Awaitable[Response]]


class SuggestionHandlers:
    """Answers these routes. Each application has one."""

    def __init__(
        self,
        settings: SearchSettings,
        *,
        finder: Finder,
        names: Names,
        stored: StoredListings,
        threads: Threads,
        health: Health,
        store: Store,
        stream: Stream | None,
    ) -> None:
        """`stream` has the occasions; without it nothing is known to go with anything."""
        self._settings, self._health, self._names = settings, health, names
        self._finder, self._stored, self._threads = finder, stored, threads
        self.pricing = Pricing(finder, store, settings)
        self._together: Follower | None = None
        self._goes_with: GoesWith | None = None
        if stream is not None:
            self._together = Follower(stream, settings.max_occasions, settings.probe_interval_s)
            self._goes_with = GoesWith(self._together.counts, finder, store=store, names=names, settings=settings)

    @property
    def progress(self) -> CatchingUp | None:
        """How far the occasions are read; None without a stream."""
        return None if self._together is None else self._together.progress

    @property
    def endpoints(self) -> dict[str, Endpoint]:
        """The functions that answer, by the last part of their path."""
        return {"price": self.price, "goes-with": self.goes_with, "scenes": self.scenes}

    def start(self) -> None:
        """Start to follow the occasions. The counters exist from now on, so that their rate is 0 and not missing."""
        for source in ("copies", "neighbours", "none"):
            metrics.PRICES.labels(source)
        for source in ("counts", "neighbours", "categories", "none"):
            metrics.GOES_WITH.labels(source)
        metrics.OCCASIONS_REFUSED.labels("key_mismatch")
        if self._together is not None:
            self._together.start()

    def close(self) -> None:
        """End that."""
        if self._together is not None:
            self._together.close()

    async def price(self, request: Request) -> Response:
        """`GET /v1/listings/{listing_id}/price`."""
        began = time.perf_counter()
        listing_id = params.identifier(request.path_params["listing_id"], "listing_id")
        currency = params.currency(request)
        async with self._threads.in_time():
            query = await self._stored.query(listing_id, None)
            price = await self._threads.read(
                lambda: self.pricing.price(query.hashes, listing=query.listing, currency=currency)
            )
        answer = PriceAnswer(
            listing_id=listing_id,
            epoch=query.listing.epoch,
            price=price,
            support=self._settings.price_support,
            stale=self._health.stale,
            took_s=round(time.perf_counter() - began, 4),
        )
        return answered(answer)

    async def goes_with(self, request: Request) -> Response:
        """`GET /v1/listings/{listing_id}/goes-with`."""
        began, settings = time.perf_counter(), self._settings
        listing_id = params.identifier(request.path_params["listing_id"], "listing_id")
        k = params.number(request, "k", settings.default_k, settings.max_k)
        language = params.language(request, settings.language, self._names.languages)
        together, finder = self._together, self._goes_with
        if together is None or finder is None:
            raise Problem(404, "no-occasions", "this service was started without a stream; use `groknet run search`")
        if together.waiting_for:
            detail = f"the occasions of listings.together are not read yet: {together.waiting_for}; ask again"
            raise Problem(503, "together-not-ready", detail, retry_after_s=2)
        async with self._threads.in_time():
            listing, hashes = await self._with_hashes(listing_id)
            found = await self._threads.read(lambda: finder.companions(listing, hashes, k, language))
        answer = GoesWithAnswer(
            listing_id=listing_id,
            occasions=together.counts.occasions(listing_id),
            companions=found,
            stale=self._health.stale or together.stale,
            took_s=round(time.perf_counter() - began, 4),
        )
        return answered(answer)

    async def _with_hashes(self, listing_id: str) -> tuple[StoredListing, list[str]]:
        """A stored listing and its hashes; without a photo of this epoch it has none, and its counts are enough."""
        try:
            query = await self._stored.query(listing_id, None)
        except Problem:
            return await self._stored.get(listing_id), []
        return query.listing, query.hashes

    async def scenes(self, request: Request) -> Response:
        """`GET /v1/listings/{listing_id}/scenes`."""
        began, settings = time.perf_counter(), self._settings
        listing_id = params.identifier(request.path_params["listing_id"], "listing_id")
        radius = params.number(request, "radius", settings.max_radius, settings.max_radius, least=0)
        k = params.number(request, "k", settings.default_k, settings.max_k)
        language = params.language(request, settings.language, self._names.languages)
        async with self._threads.in_time():
            query = await self._stored.query(listing_id, None)
            wanted = Wanted(settings.max_k, listing_id, radius=radius)
            found = await self._threads.read(lambda: self._finder.find(query.hashes, wanted))
        answer = ScenesAnswer(
            listing_id=listing_id,
            epoch=query.listing.epoch,
            radius=radius,
            scenes=self._finder.shown([one for one in found if one.photo.box is not None][:k], language),
            stale=self._health.stale,
            took_s=round(time.perf_counter() - began, 4),
        )
        return answered(answer)
