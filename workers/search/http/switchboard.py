"""One address, one application after another: a search service changes its epoch between two requests.

Each application has an engine, an epoch and the indexers of that epoch. A request is answered from beginning to end by
the application that it met, so that no answer mixes two epochs; the old one ends when its last request has.
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

from workers.serving import Health

_log = logging.getLogger(__name__)
_LOOK_S = 0.1
_DRAIN_S = 30.0  # an answer takes 15 s at most; what is older is not waited for


class Switchboard:
    """An ASGI application that hands every request to the one in force."""

    def __init__(self, app: Starlette, health: Health) -> None:
        self._app = app
        self._health = health
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lives: dict[Starlette, AbstractAsyncContextManager[Any]] = {}
        self._in_flight: Counter[Starlette] = Counter()

    @property
    def health(self) -> Health:
        """Of the application in force."""
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
        """Put an application in force at once, ready or not, in place of a waiting room."""
        self._do(self._start(app))
        self._replace(app, health)

    def change(self, app: Starlette, health: Health, *, wanted: Callable[[], bool]) -> bool:
        """Start another application beside the one in force, and let it take over once it is ready.

        Called from another thread than the server's; blocks. False when `wanted()` turned false before it was ready, or
        it failed: it is then ended, and the one in force stays.
        """
        self._do(self._start(app))
        while not health.ready:
            if health.failure is not None or not wanted():
                _log.warning("no change of the epoch: %s", health.failure or "it is not wanted any more")
                self._do(self._end(app))
                return False
            time.sleep(_LOOK_S)
        self._replace(app, health)
        return True

    def _replace(self, app: Starlette, health: Health) -> None:
        """What is under way in the old one is finished first."""
        old, self._health, self._app = self._app, health, app
        deadline = time.monotonic() + _DRAIN_S
        while self._in_flight[old] and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        self._do(self._end(old))

    def _do(self, work: Any) -> None:
        if self._loop is None:
            raise RuntimeError("the server has not started")
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)
