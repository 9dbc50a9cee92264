"""Keeps a search after it was answered, if the operator and the client agree. It never changes or fails the answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from engines.pixels import is_large, thumbnail
from schemas.errors import GroknetError
from schemas.manifest import Manifest
from workers.search.http import params
from workers.search.http.threads import Threads
from workers.search.kept.ledger import MAX_PHOTO_BYTES, PHOTO_SIDE, KeptSearch, Ledger
from workers.search.settings import SearchSettings

_log = logging.getLogger(__name__)
_PRUNE_S = 3600.0  # so that what is too old goes even if nobody searches
Endpoint = Callable[[Request], Awaitable[Response]]


class _Category(msgspec.Struct):
    category: str


class _Neighbour(msgspec.Struct):
    listing_id: str
    likeness: float


class _Answer(msgspec.Struct):
    """What is kept of an answer of `POST /v1/search`."""

    epoch: str
    hash: str
    box: tuple[float, float, float, float] | None
    categories: list[_Category]
    neighbours: list[_Neighbour]
    close: bool


class Keeping:
    """Wraps the route of searches. Each application has one. `ledger` is None if nothing may be kept."""

    def __init__(self, settings: SearchSettings, path: Path | None, *, manifest: Manifest, threads: Threads) -> None:
        """`path`: of the file of kept searches and judgements. It is opened only if `settings.keep` allows it."""
        self.ledger: Ledger | None = None
        if path is not None and settings.keep != "nothing":
            self.ledger = Ledger(path, days=settings.keep_days, most=settings.max_kept)
        self._photos = settings.keep == "photos"
        self._preprocess, self._threads = manifest.preprocess, threads

    def around(self, search: Endpoint) -> Endpoint:
        """The route that also keeps what it answers, for requests with `keep=true`."""
        ledger = self.ledger
        if ledger is None:
            return search

        async def answer(request: Request) -> Response:
            agreed = params.flag(request, "keep", False)
            response = await search(request)
            if agreed and response.status_code == 200:
                await self._keep(ledger, request, bytes(response.body))
            return response

        return answer

    async def _keep(self, ledger: Ledger, request: Request, body: bytes) -> None:
        data: bytes | None = getattr(request.state, "photo", None)
        if data is None:
            return  # neither words nor a stored listing are a photo that we lack
        found = msgspec.json.decode(body, type=_Answer)
        try:
            photo = None
            if self._photos:
                photo = await self._threads.decode(
                    lambda: thumbnail(data, PHOTO_SIDE, max_bytes=MAX_PHOTO_BYTES),
                    large=is_large(data, self._preprocess),
                )
            best = found.neighbours[0] if found.neighbours else None
            search = KeptSearch(
                at=int(time.time()),
                epoch=found.epoch,
                hash=found.hash,
                box="" if found.box is None else ",".join(f"{edge:g}" for edge in found.box),
                close=found.close,
                likeness=best.likeness if best else 0.0,
                category=found.categories[0].category if found.categories else None,
                listing_id=best.listing_id if best else None,
                photo=photo,
            )
            await self._threads.read(lambda: ledger.keep(search))
        except GroknetError as error:
            _log.warning("a search was not kept: %s", error)

    @asynccontextmanager
    async def pruned(self) -> AsyncIterator[None]:
        """Delete what is too old once an hour while the block runs, and close the file after it."""
        ledger = self.ledger
        if ledger is None:
            yield
            return

        async def prune() -> None:
            while True:
                await asyncio.sleep(_PRUNE_S)
                try:
                    await asyncio.to_thread(ledger.prune)
                except GroknetError as error:
                    _log.warning("kept searches were not pruned: %s", error)

        task = asyncio.create_task(prune())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            ledger.close()
