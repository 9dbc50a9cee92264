"""The routes' work: read the request, bound it, ask the engine and the finder, answer."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from engines.pixels import decode
from schemas.errors import Invalid, Reject, Transient
from schemas.predictions import RemovalMarker, StoredListing
from workers import metrics
from workers.problems import Problem
from workers.search.answers import ImageAnswer, ListingAnswer, RecentListings, SearchAnswer
from workers.search.finder import Finder, freshness
from workers.search.indexers import Indexers
from workers.search.inference import Inference, Recognised
from workers.search.naming import Names, thumbnail_path
from workers.search.settings import SearchSettings
from workers.search.uploads import photo_problem, read_photo
from workers.serving import Health
from workers.stores import Store

_ID = re.compile(r"[A-Za-z0-9._:/-]{1,128}")
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
T = TypeVar("T")


class Handlers:
    """One instance an application; `_photos` counts the requests with a photo that are let in (event loop only)."""

    def __init__(
        self, settings: SearchSettings, *, store: Store, indexers: Indexers, inference: Inference, health: Health
    ) -> None:
        self._settings = settings
        self._store = store
        self._indexers = indexers
        self._inference = inference
        self._health = health
        self._names = Names(inference.manifest)
        self._finder = Finder(store, indexers, inference.manifest, self._names)
        self._photos = 0
        self._decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="search-decode")
        self._readers = ThreadPoolExecutor(settings.max_waiting, thread_name_prefix="search-read")

    def close(self) -> None:
        """Let the threads go. Idempotent."""
        self._decoders.shutdown(cancel_futures=True)
        self._readers.shutdown(cancel_futures=True)

    async def search(self, request: Request) -> Response:
        """`POST /v1/search`."""
        began = time.perf_counter()
        k = self._number(request, "k", self._settings.default_k, self._settings.max_k)
        language = self._language(request)
        if self._photos >= self._settings.max_waiting:
            detail = f"{self._photos} photos are being searched for already; ask again in a second"
            raise Problem(503, "busy", detail, retry_after_s=1)
        self._photos += 1
        try:
            data = await read_photo(request, self._settings.max_upload_bytes, self._settings.upload_timeout_s)
            async with asyncio.timeout(self._settings.answer_timeout_s):
                seen = await self._recognise(data)
                with metrics.SEARCH_SECONDS.labels("find").time():
                    neighbours = await self._read(lambda: self._finder.similar(seen.hash, k, language))
        except TimeoutError:
            detail = f"no answer within {self._settings.answer_timeout_s:g} s; ask again in a moment"
            raise Problem(503, "too-slow", detail, retry_after_s=2) from None
        finally:
            self._photos -= 1
        manifest, took_s = self._inference.manifest, time.perf_counter() - began
        metrics.SEARCH_SECONDS.labels("total").observe(took_s)
        answer = SearchAnswer(
            model_version=manifest.model_version,
            epoch=manifest.epoch,
            hash=seen.hash,
            predictions=self._names.named(seen.predictions, language),
            neighbours=neighbours,
            stale=self._health.stale,
            took_s=round(took_s, 4),
        )
        return _json(answer)

    async def _recognise(self, data: bytes) -> Recognised:
        preprocess = self._inference.manifest.preprocess
        try:
            with metrics.SEARCH_SECONDS.labels("decode").time():
                pixels = await self._run(self._decoders, lambda: decode(data, preprocess))
            with metrics.SEARCH_SECONDS.labels("recognise").time():
                return await asyncio.wrap_future(self._inference.submit(pixels))
        except Invalid as error:
            raise photo_problem(error) from None

    async def listing(self, request: Request) -> Response:
        """`GET /v1/listings/{listing_id}`."""
        listing_id = _checked(request.path_params["listing_id"], "listing_id")
        language = self._language(request)
        stored = (await self._read(lambda: self._store.get([listing_id]))).get(listing_id)
        if stored is None:
            raise Problem(404, "no-such-listing", f"listing_id: {listing_id} is not stored; submit it first")
        if isinstance(stored, RemovalMarker):
            detail = f"listing_id: {listing_id} was removed (event time {stored.event_time}); submit it again"
            raise Problem(410, "removed", detail)
        return _json(await self._listing_answer(stored, language))

    async def _listing_answer(self, stored: StoredListing, language: str) -> ListingAnswer:
        try:
            held = await self._read(lambda: self._indexers.listing(stored.listing_id))
            searchable = held is not None and held.event_time == stored.event_time
            fresh = freshness(stored, held, searchable=searchable)
        except Transient:
            fresh = freshness(stored, None, searchable=None)
        return ListingAnswer(
            listing_id=stored.listing_id,
            event_id=stored.event.event_id,
            title=stored.event.title,
            category=stored.event.category,
            state=stored.event.state,
            status=stored.summary.status,
            model_version=stored.model_version,
            epoch=stored.epoch,
            predictions=self._names.named(stored.summary.predictions, language),
            images=[
                ImageAnswer(
                    image_id=row.image_id,
                    hash=row.hash,
                    predictions=self._names.named(row.predictions, language),
                    thumbnail=thumbnail_path(stored.listing_id, row.image_id),
                )
                for row in stored.images
            ],
            bad_images=stored.summary.bad_images,
            freshness=fresh,
        )

    async def thumbnail(self, request: Request) -> Response:
        """`GET /v1/thumbnail?listing_id=&image_id=`."""
        listing_id = _checked(request.query_params.get("listing_id", ""), "listing_id")
        image_id = _checked(request.query_params.get("image_id", ""), "image_id")
        webp = await self._read(lambda: self._store.thumbnail(listing_id, image_id))
        if webp is None:
            raise Problem(404, "no-thumbnail", f"image_id: no thumbnail of {image_id} of {listing_id} is stored")
        # A minute spares a page its reloads; longer would keep a removed photo in sight.
        return Response(webp, media_type="image/webp", headers={"cache-control": "private, max-age=60"})

    async def recent(self, request: Request) -> Response:
        """`GET /v1/recent`."""
        n = self._number(request, "n", 24, self._settings.max_recent)
        language = self._language(request)
        return _json(RecentListings(listings=await self._read(lambda: self._finder.recent(n, language))))

    async def _read(self, work: Callable[[], T]) -> T:
        return await self._run(self._readers, work)

    async def _run(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(threads, work)
        except RuntimeError as error:
            if "shutdown" in str(error):
                raise Reject("the search service is stopping; ask again") from None
            raise

    def _language(self, request: Request) -> str:
        language = request.query_params.get("lang", self._settings.language)
        if not _LANGUAGE.fullmatch(language):
            raise Problem(422, "bad-parameter", "lang: not a language tag; give one like en or zh-Hant")
        return language

    def _number(self, request: Request, name: str, default: int, most: int) -> int:
        text = request.query_params.get(name, str(min(default, most)))
        if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= most):
            raise Problem(422, "bad-parameter", f"{name}: {text[:20]!r} is not a whole number from 1 to {most}")
        return int(text)


def _checked(text: str, field: str) -> str:
    if not _ID.fullmatch(text):
        detail = f"{field}: 1 to 128 characters of A-Z a-z 0-9 . _ : / - are an id; this is none"
        raise Problem(422, "bad-parameter", detail)
    return text


def _json(answer: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json", headers={"cache-control": "no-store"})
