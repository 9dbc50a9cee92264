"""Keeps a search after its answer was sent, if the operator and the client agree. It never changes, fails or slows the
answer."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from engines.pixels import thumbnail
from schemas.errors import GroknetError, Reject
from workers.search.http import params
from workers.search.kept.ledger import MAX_PHOTO_BYTES, PHOTO_SIDE, KeptSearch, Ledger
from workers.search.kept.writer import Writer
from workers.search.settings import SearchSettings
from workers.watching import metrics

_log = logging.getLogger(__name__)
_PRUNE_S = 3600.0  # so that what is too old goes even if nobody searches
_BUSY_TIMEOUT_S = 1.0  # several services of a home share the file; one write takes milliseconds
_WARN_S = 60.0  # between two log lines; the metric counts all
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

    def __init__(self, settings: SearchSettings, path: Path | None) -> None:
        """`path`: of the file of kept searches and judgements. If `settings.keep` is `nothing`, a file of earlier days
        is only pruned."""
        self._path, self._days, self._most = path, settings.keep_days, settings.max_kept
        self.ledger: Ledger | None = None
        if path is not None and settings.keep != "nothing":
            self.ledger = Ledger(path, days=self._days, most=self._most, busy_timeout_s=_BUSY_TIMEOUT_S)
            for why in ("full", "failed"):
                metrics.SEARCHES_NOT_KEPT.labels(why)
        self._photos = settings.keep == "photos"
        self.writer = Writer(max(settings.max_keep_memory, 2 * settings.max_upload_bytes))
        self._warn_at = time.monotonic()

    def around(self, search: Endpoint) -> Endpoint:
        """The route that also keeps what it answers, for requests with `keep=true`."""
        ledger = self.ledger
        if ledger is None:
            return search

        async def answer(request: Request) -> Response:
            agreed = params.flag(request, "keep", False)
            response = await search(request)
            photo: bytes | None = getattr(request.state, "photo", None)  # a stored listing is no photo that we lack
            if agreed and response.status_code == 200 and photo is not None:
                response.background = BackgroundTask(self._offer, ledger, bytes(response.body), photo)
            return response

        return answer

    async def _offer(self, ledger: Ledger, body: bytes, photo: bytes) -> None:
        """Hand a search to the writing thread, and do not wait for it."""
        data = photo if self._photos else b""
        at = int(time.time())
        try:
            self.writer.offer(lambda: self._keep(ledger, at, body, data), len(body) + len(data))
        except Reject as error:
            self._not_kept("full", error)

    def _keep(self, ledger: Ledger, at: int, body: bytes, data: bytes) -> None:
        """Runs in the writing thread. Nobody waits for it, so it raises nothing."""
        try:
            photo = thumbnail(data, PHOTO_SIDE, max_bytes=MAX_PHOTO_BYTES) if data else None
            found = msgspec.json.decode(body, type=_Answer)
            best = found.neighbours[0] if found.neighbours else None
            search = KeptSearch(
                at=at,
                epoch=found.epoch,
                hash=found.hash,
                box="" if found.box is None else ",".join(f"{edge:g}" for edge in found.box),
                close=found.close,
                likeness=best.likeness if best else 0.0,
                category=found.categories[0].category if found.categories else None,
                listing_id=best.listing_id if best else None,
                photo=photo,
            )
            ledger.keep(search)
        except Exception as error:
            self._not_kept("failed", error)

    def _not_kept(self, why: str, error: Exception) -> None:
        metrics.SEARCHES_NOT_KEPT.labels(why).inc()
        if time.monotonic() >= self._warn_at:
            self._warn_at = time.monotonic() + _WARN_S
            _log.warning("a search was not kept: %s", error)

    def _prune(self) -> None:
        """Delete what is too old. Without a ledger the file is opened for it, because the age limit holds on after the
        operator has turned keeping off. Opening it prunes it."""
        try:
            if self.ledger is not None:
                self.ledger.prune()
            elif self._path is not None and self._path.exists():
                Ledger(self._path, days=self._days, most=self._most).close()
        except (GroknetError, sqlite3.Error) as error:
            _log.warning("kept searches were not pruned: %s", error)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Delete what is too old now and once an hour while the block runs, and close the file after it."""

        async def prune() -> None:
            while True:
                with suppress(Reject):
                    self.writer.offer(self._prune, 0)
                await asyncio.sleep(_PRUNE_S)

        task = asyncio.create_task(prune())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            self.writer.close()
            if self.ledger is not None:
                self.ledger.close()
