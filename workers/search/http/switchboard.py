"""Serves one application after another at one address, so that a search service can change its epoch while it runs.

Each application has an engine, an epoch and the indexers of that epoch. One application answers a request from
beginning to end, so no answer mixes two epochs. The old application ends after its last request.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from workers.http.serving import Health

_log = logging.getLogger(__name__)
_LOOK_S = 0.1
_DRAIN_S = 30.0  # an answer takes at most 15 s; older requests are not waited for


class Switchboard:
    """An ASGI application that passes every request to the current application."""

    def __init__(self, app: Starlette, health: Health) -> None:
        self._app = app
        self._health = health
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lives: dict[Starlette, AbstractAsyncContextManager[Any]] = {}
        self._in_flight: Counter[Starlette] = Counter()

    @property
    def health(self) -> Health:
        """The health of the current application."""
        return self._health

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        app = self._app
        self._in_flight[app] += 1
        try:
            await app(scope, receive, send)
        finally:
            self._in_flight[app] -= 1

    async def _live(self, receive: Receive, send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        await receive()
        await self._start(self._app)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for app in list(self._lives):
            await self._end(app)
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self, app: Starlette) -> None:
        life = app.router.lifespan_context(app)
        await life.__aenter__()
        self._lives[app] = life

    async def _end(self, app: Starlette) -> None:
        life = self._lives.pop(app, None)
        if life is not None:
            await life.__aexit__(None, None, None)

    def begin(self, app: Starlette, health: Health) -> None:
        """Make an application the current one at once, even if it is not ready yet. Replaces a waiting room."""
        self._do(self._start(app))
        self._replace(app, health)

    def change(self, app: Starlette, health: Health, *, wanted: Callable[[], bool]) -> bool:
        """Start another application, and make it the current one when it is ready. Blocks.

        Call it from another thread than the server's. If the new application fails, or `wanted()` becomes false before
        it is ready, it is ended, the current one stays, and the result is False.
        """
        self._do(self._start(app))
        while not health.ready:
            if health.failure is not None or not wanted():
                _log.warning("the epoch does not change: %s", health.failure or "the change is no longer wanted")
                self._do(self._end(app))
                return False
            time.sleep(_LOOK_S)
        self._replace(app, health)
        return True

    def _replace(self, app: Starlette, health: Health) -> None:
        """Send new requests to the new application, wait for those of the old one, and end the old one."""
        old, self._health, self._app = self._app, health, app
        deadline = time.monotonic() + _DRAIN_S
        while self._in_flight[old] and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        self._do(self._end(old))

    def _do(self, work: Any) -> None:
        if self._loop is None:
            raise RuntimeError("the server has not started")
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)
