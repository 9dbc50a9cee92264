"""What every worker serves: liveness, readiness and metrics over HTTP, from a thread beside its real loop.

Liveness looks at the worker alone: the age of the heartbeat that its loop touches and the age of the batch in flight.
It never asks the stream or the store, since a restart of the worker heals neither.
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from schemas.errors import ConfigError
from workers.problems import HANDLERS, Problem

_log = logging.getLogger(__name__)

GRACE_S = 10  # requests under way at a stop; below the 25 s that a worker has to drain
START_S = 30.0  # an application that has not started by then never will


class PortTaken(ConfigError):
    """Another process listens there."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"port: {port} on {host} is taken; free it, or choose another (0: any free one)")
        self.host = host
        self.port = port


class Health:
    """What a worker says of itself. Thread-safe: every field is one assignment of one object.

    `started`: the heavy loading is done (until then the start-up probe alone speaks). `ready`: send it work.
    `stale` is apart from `ready`: it still answers, from data that are older than `stale_after_s`.
    """

    def __init__(
        self,
        *,
        heartbeat_limit_s: float = 30.0,  # the loops beat every second; 30 covers one slow poll or fsync
        batch_limit_s: float = 120.0,  # the slowest honest batch is seconds; two minutes is a stuck device
        stale_after_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._heartbeat_limit_s = heartbeat_limit_s
        self._batch_limit_s = batch_limit_s
        self.stale_after_s = stale_after_s
        self.started = False
        self.ready = False
        self.waiting_for = "start"
        """What readiness waits for, in words; empty once ready."""
        self.failed = threading.Event()
        """Set by `fail`; whoever owns the process waits for it beside its stop signal, and exits with an error."""
        self.failure: BaseException | None = None
        self.source_stale = False
        """Set by a worker whose own data come from another worker that says it is stale."""
        self.hold: dict[str, str | float] | None = None
        """Set by a worker that waits for a service to come back: `service`, `since` (UTC seconds) and `why`."""
        self._beat = self._fresh = clock()
        self._batch: float | None = None

    def mark_started(self) -> None:
        """The loop is about to begin: heartbeats count from now."""
        self.beat()
        self.started = True

    def mark_ready(self) -> None:
        """Send it work from now on."""
        self.waiting_for = ""
        self.ready = True

    def mark_unready(self, waiting_for: str) -> None:
        """Send it no work until what is named has come."""
        self.ready = False
        self.waiting_for = waiting_for

    def beat(self) -> None:
        """Called by the real loop, every second or so, and by nothing else."""
        self._beat = self._clock()

    def fresh(self) -> None:
        """What this worker serves is up to date as of now."""
        self._fresh = self._clock()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Around the work that could hang a device; its age counts for liveness."""
        self._batch = self._clock()
        try:
            yield
        finally:
            self._batch = None

    def fail(self, error: BaseException) -> None:
        """A fault that only a restart heals: not live and not ready from now on."""
        self.failure = error
        self.mark_unready(f"a restart, after {type(error).__name__}")
        self.failed.set()

    @property
    def heartbeat_age_s(self) -> float:
        return self._clock() - self._beat

    @property
    def batch_age_s(self) -> float:
        """Age of the batch in flight; 0 without one."""
        batch = self._batch
        return 0.0 if batch is None else self._clock() - batch

    @property
    def live(self) -> bool:
        """False when a restart is the remedy."""
        if self.failure is not None:
            return False
        if not self.started:
            return True
        return self.heartbeat_age_s <= self._heartbeat_limit_s and self.batch_age_s <= self._batch_limit_s

    @property
    def stale(self) -> bool:
        """True when what it serves is older than it should be; it still answers."""
        if self.source_stale:
            return True
        return self.stale_after_s is not None and self._clock() - self._fresh > self.stale_after_s


def operations_routes(health: Health) -> list[Route]:
    """`/healthz` (503: restart me), `/readyz` (503: send me nothing yet; `stale` is told apart), `/metrics`."""

    async def healthz(_: Request) -> Response:
        body = {
            "live": health.live,
            "started": health.started,
            "heartbeat_age_s": round(health.heartbeat_age_s, 3),
            "batch_age_s": round(health.batch_age_s, 3),
        }
        return JSONResponse(body, 200 if body["live"] else 503)

    async def readyz(_: Request) -> Response:
        hold = health.hold
        ready = health.started and health.ready and hold is None
        waiting_for = health.waiting_for if hold is None else f"the {hold['service']}, which does not answer"
        body = {"ready": ready, "stale": health.stale, "waiting_for": waiting_for, "hold": hold}
        return JSONResponse(body, 200 if ready else 503, headers=None if ready else {"retry-after": "1"})

    def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]


def waiting_room(health: Health) -> Starlette:
    """What a worker serves until its own application can be built: `operations_routes`, and 503 for all else."""

    async def later(_: Request) -> Response:
        detail = f"this worker is not ready, it waits for {health.waiting_for}; ask again"
        raise Problem(503, "not-ready", detail, retry_after_s=1)

    routes = [*operations_routes(health), Route("/{path:path}", later)]
    return Starlette(routes=routes, exception_handlers=dict(HANDLERS))


class Server:
    """A running HTTP server; built by `serve`."""

    def __init__(self, server: uvicorn.Server, thread: threading.Thread, host: str, port: int) -> None:
        self._server = server
        self._thread = thread
        self.host = host
        self.port = port

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        """Take no more connections, finish the requests under way (10 s at most), return. Idempotent."""
        self._server.should_exit = True
        self._thread.join(GRACE_S + 5.0)
        if self._thread.is_alive():
            _log.warning("HTTP on port %d did not stop in %d s; left to the end of the process", self.port, GRACE_S)


def serve(app: ASGIApp, host: str, port: int) -> Server:
    """Serve `app` from a thread; port 0 takes a free one (see `Server.port`).

    Returns once the port answers. Raises ConfigError when the address cannot be bound, naming host and port:
    `PortTaken` where another process listens.
    """
    listener = _listen(host, port)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = uvicorn.Server(config)
    bound = int(listener.getsockname()[1])

    def run() -> None:
        with suppress(SystemExit):  # uvicorn's way to say that the application did not start
            server.run([listener])

    thread = threading.Thread(target=run, name=f"http-{bound}", daemon=True)
    thread.start()
    deadline = time.monotonic() + START_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            server.should_exit = True
            listener.close()
            raise RuntimeError(f"the HTTP application on port {bound} did not start; its reason is logged above")
        time.sleep(0.005)
    return Server(server, thread, host, bound)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, OverflowError) as error:
        raise ConfigError(f"host: {host!r} port: {port}: no such address ({error}); use 127.0.0.1") from None
    # The protocol is named because asyncio sets TCP_NODELAY only then; without it a small answer waits 40 ms for
    # the acknowledgement of its own header.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(host, port) from None
        text = f"port: {port} on {host} cannot be used ({error.strerror}); free it, or choose another (0: any free one)"
        raise ConfigError(text) from None
    return listener
