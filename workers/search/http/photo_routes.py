"""`POST /v1/search` and `POST /v1/predict`: what a photo (or a stored listing) shows, and similar listings."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass, field

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from engines.pixels import Box, decode, is_large
from schemas.errors import Invalid
from schemas.manifest import Manifest
from schemas.plain_text import plain_or_none
from schemas.predictions import Predictions
from workers import metrics
from workers.search import answers
from workers.search.answers import CategoryShare, PredictAnswer, SearchAnswer, SearchByListing
from workers.search.find import vote
from workers.search.find.filters import Filters
from workers.search.find.finder import Finder, Found, Wanted
from workers.search.find.inference import Inference, Recognised
from workers.search.find.naming import Names
from workers.search.find.suggest import Suggester
from workers.search.find.vote import Ballot, Voting
from workers.search.http import params
from workers.search.http.admission import client_of
from workers.search.http.json_bodies import answered, json_body, media_type
from workers.search.http.slots import Slots
from workers.search.http.stored import StoredListings
from workers.search.http.threads import Threads
from workers.search.http.uploads import FORM_OVERHEAD, photo_problem, read_photo
from workers.search.settings import SearchSettings
from workers.serving import Health

_MAX_JSON = 4_096  # bytes of a JSON body, which names a listing and a photo
_CLIENT_SHARE = 4  # one client may fill a quarter of the memory for uploads
RERANKED = 50  # nearest listings that are reordered; re-ranking with k1 = 20 needs more than 20


@dataclass(frozen=True, slots=True)
class _Asked:
    """The parameters of a search."""

    k: int
    language: str
    box: Box | None
    only: Filters
    vote: bool
    rerank: bool
    fine: bool


@dataclass(frozen=True, slots=True)
class _Seen:
    """What to search for: one photo that was just recognised, or the photos of a stored listing."""

    hashes: list[str]
    predictions: Predictions
    applies: list[str] | None
    listing_id: str | None = None
    image_ids: list[str] = field(default_factory=list)
    margins: NDArray[np.float32] | None = None


class PhotoHandlers:
    """Answers the routes that take a photo. Each application has one."""

    def __init__(
        self,
        settings: SearchSettings,
        *,
        manifest: Manifest,
        inference: Inference,
        finder: Finder,
        names: Names,
        stored: StoredListings,
        threads: Threads,
        health: Health,
    ) -> None:
        self._settings, self._manifest, self._health = settings, manifest, health
        self._inference, self._finder, self._names = inference, finder, names
        self._stored, self._threads = stored, threads
        self._voting = Voting(manifest)
        self._suggester = Suggester(names)
        of_client = min(settings.max_client_waiting, settings.max_waiting)
        self._photos = Slots(settings.max_waiting, of_client, "photos are being looked at already")
        memory = max(settings.max_upload_memory, settings.max_upload_bytes + FORM_OVERHEAD)
        of_client = max(memory // _CLIENT_SHARE, settings.max_upload_bytes + FORM_OVERHEAD)
        self._memory = Slots(memory, of_client, "bytes of photos have arrived already")

    async def search(self, request: Request) -> Response:
        """`POST /v1/search`."""
        began = time.perf_counter()
        asked = self._asked(request)
        if media_type(request) == "application/json":
            return await self._by_listing(request, asked, began)
        async with self._photo(request) as data, self._threads.in_time():
            recognised = await self._recognise(data, asked.box)
            margins = recognised.margins if asked.fine else None
            seen = _Seen([recognised.hash], recognised.predictions, recognised.applies, margins=margins)
            found = await self._find(seen, asked)
        return self._answer(asked, seen, found, began)

    async def predict(self, request: Request) -> Response:
        """`POST /v1/predict`."""
        began = time.perf_counter()
        language, box = params.language(request, self._settings.language, self._names.languages), params.box(request)
        async with self._photo(request) as data, self._threads.in_time():
            seen = await self._recognise(data, box)
        suggestions = self._suggester.suggest(seen.predictions, language, seen.applies)
        answer = PredictAnswer(
            model_version=self._manifest.model_version,
            epoch=self._manifest.epoch,
            hash=seen.hash,
            box=_edges(box),
            category=suggestions.category,
            attributes=suggestions.attributes,
            title_words=suggestions.title_words,
            predictions=self._names.named(seen.predictions, language, seen.applies),
            applies=self._names.applies(seen.applies),
            took_s=round(time.perf_counter() - began, 4),
        )
        return answered(answer)

    def _asked(self, request: Request) -> _Asked:
        settings = self._settings
        return _Asked(
            k=params.number(request, "k", settings.default_k, settings.max_k),
            language=params.language(request, settings.language, self._names.languages),
            box=params.box(request),
            only=params.filters(request),
            vote=params.flag(request, "vote", settings.vote),
            rerank=params.flag(request, "rerank", settings.rerank),
            fine=params.flag(request, "fine", settings.fine),
        )

    @asynccontextmanager
    async def _photo(self, request: Request) -> AsyncIterator[bytes]:
        """Read the photo, then hold a slot while the block runs: a slow upload holds memory for what has arrived, and
        no slot."""
        settings, client = self._settings, client_of(request)
        self._photos.check(client)  # so that nobody sends 10 MB to hear that there is no room
        with self._memory.upload(client) as upload:
            data = await read_photo(request, settings.max_upload_bytes, settings.upload_timeout_s, upload.take)
            request.state.photo = data  # the client may let us keep it
            with self._photos.held(client):
                yield data

    async def _recognise(self, data: bytes, box: Box | None) -> Recognised:
        preprocess = self._manifest.preprocess
        try:
            with metrics.SEARCH_SECONDS.labels("decode").time():
                large = is_large(data, preprocess)
                pixels = await self._threads.decode(lambda: decode(data, preprocess, box=box), large=large)
            with metrics.SEARCH_SECONDS.labels("recognise").time():
                return await asyncio.wrap_future(self._inference.submit(pixels))
        except Invalid as error:
            raise photo_problem(error) from None

    async def _by_listing(self, request: Request, asked: _Asked, began: float) -> Response:
        if asked.box is not None:
            raise params.bad("box: a stored listing's photos are compared whole; send the photo itself to cut it")
        body = await json_body(request, SearchByListing, _MAX_JSON, self._settings.upload_timeout_s)
        listing_id = params.identifier(body.listing_id, "listing_id")
        image_id = None if body.image_id is None else params.identifier(body.image_id, "image_id")
        async with self._threads.in_time():
            query = await self._stored.query(listing_id, image_id)
            rows = {row.image_id: row for row in query.listing.images}
            shown = query.listing.summary if image_id is None else rows[image_id]
            seen = _Seen(query.hashes, shown.predictions, shown.applies, listing_id, query.image_ids)
            found = await self._find(seen, asked)
        return self._answer(asked, seen, found, began)

    async def _find(self, seen: _Seen, asked: _Asked) -> list[Found]:
        """Find enough listings to answer, to vote and to reorder."""
        anew = asked.rerank or seen.margins is not None
        count = max(asked.k, vote.VOTERS if asked.vote else 0, RERANKED if anew else 0)
        wanted = Wanted(count, seen.listing_id, asked.only)
        with metrics.SEARCH_SECONDS.labels("find").time():
            return await self._threads.read(lambda: self._finder.find(seen.hashes, wanted))

    def _answer(self, asked: _Asked, seen: _Seen, found: Sequence[Found], began: float) -> Response:
        ordered = self._finder.ordered(seen.hashes, found, asked.k, reranked=asked.rerank, margins=seen.margins)
        categories = self._vote(seen.predictions, found) if asked.vote and not asked.only.categories else []
        took_s = time.perf_counter() - began
        metrics.SEARCH_SECONDS.labels("total").observe(took_s)
        close = self._close(seen, found)
        metrics.SEARCHES.labels("yes" if close else "no").inc()
        answer = SearchAnswer(
            model_version=self._manifest.model_version,
            epoch=self._manifest.epoch,
            hash=seen.hashes[0],
            listing_id=seen.listing_id,
            image_ids=seen.image_ids,
            box=_edges(asked.box),
            predictions=self._names.named(seen.predictions, asked.language, seen.applies),
            applies=self._names.applies(seen.applies),
            categories=categories,
            neighbours=self._finder.shown(ordered, asked.language),
            close=close,
            reranked=asked.rerank,
            stale=self._health.stale,
            took_s=round(took_s, 4),
        )
        return answered(answer)

    def _close(self, seen: _Seen, found: Sequence[Found]) -> bool:
        """Whether a listing is close: by the photo's bits before rounding if they are known, else by bits."""
        if seen.margins is None:
            return any(one.photo.distance <= self._settings.close_bits for one in found)
        least = self._settings.close_likeness
        return any(one.likeness >= least for one in self._finder.refined(seen.margins, found))

    def _vote(self, predictions: Predictions, found: Sequence[Found]) -> list[CategoryShare]:
        ballots = [
            Ballot(one.photo.listing_id, plain_or_none(one.listing.event.category), one.photo.distance)
            for one in found[: vote.VOTERS]
            if one.listing is not None
        ]
        return self._voting.count(predictions, ballots)


def _edges(box: Box | None) -> answers.Box | None:
    return None if box is None else astuple(box)
