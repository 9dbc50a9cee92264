"""Serves liveness, readiness and metrics of a worker over HTTP, from a thread of its own.

Liveness depends on the worker alone: on the age of the heartbeat of its loop, and on the age of the batch in flight. It
never asks the stream or the store, because a restart of the worker repairs neither.
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
from prometheus_client.openmetrics import exposition as openmetrics
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from schemas.errors import ConfigError
from workers.build_info import show_build
from workers.http.connections import HttpLimits, bounded
from workers.http.problems import HANDLERS, Problem
from workers.http.request_checks import RequestChecks
from workers.watching import metrics
from workers.watching.declared import WorkerKind, registry_of

_log = logging.getLogger(__name__)

GRACE_S = 10  # to finish open requests at a stop; less than the 25 s that a worker has to drain
STOP_S = GRACE_S + 5.0  # that `Server.stop` takes at most
START_S = 30.0  # an application that has not started by then has failed


class PortTaken(ConfigError):
    """Another process listens on this port."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"port: {port} on {host} is taken; free it, or choose another (0: any free one)")
        self.host = host
        self.port = port


class Health:
    """The health of a worker. Thread-safe, because every change is one assignment.

    `started`: the worker has finished loading; until then it always counts as live. `ready`: it accepts work. `stale`
    does not depend on `ready`: a stale worker answers, but from data that are older than `stale_after_s` seconds.
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
        """What the worker waits for before it is ready, in words; empty when it is ready."""
        self.failed = threading.Event()
        """Set by `fail`. The owner of the process waits for it and for its stop signal, and exits with an error."""
        self.failure: BaseException | None = None
        self.source_stale = False
        """Set if the worker's data come from another worker that is stale."""
        self.standby = False
        """Set while another worker does the work, and this one would take over. It is not ready, and need not be."""
        self.hold: dict[str, str | float] | None = None
        """Set while the worker waits for a service to come back: `service`, `since` (UTC seconds) and `why`."""
        self.degraded: dict[str, str] = {}
        """Each service that is away although the worker needs it for a part of its answers, with the reason. The worker
        stays ready, because a balancer could do nothing better. Replace the whole value; do not change it."""
        self._beat = self._fresh = clock()
        self._batches: dict[int, float] = {}  # by thread: engine and detector have one each

    def mark_started(self) -> None:
        """The loop begins. From now on heartbeats count."""
        self.beat()
        self.started = True

    def mark_ready(self) -> None:
        """The worker accepts work from now on."""
        self.waiting_for = ""
        self.ready = True

    def mark_unready(self, waiting_for: str) -> None:
        """The worker accepts no work until `waiting_for` has happened."""
        self.ready = False
        self.waiting_for = waiting_for

    def beat(self) -> None:
        """Note a heartbeat. Only the worker's loop may call it, about once a second."""
        self._beat = self._clock()

    def fresh(self) -> None:
        """Note that the worker's data are up to date now."""
        self._fresh = self._clock()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Wrap work that could hang a device. If the block takes longer than `batch_limit_s`, the worker is not
        live. Several threads may do such work at the same time."""
        thread = threading.get_ident()
        self._batches[thread] = self._clock()
        try:
            yield
        finally:
            self._batches.pop(thread, None)

    def fail(self, error: BaseException) -> None:
        """Note an error that only a restart repairs. The worker is not live and not ready from now on."""
        self.failure = error
        self.mark_unready(f"a restart, after {type(error).__name__}")
        self.failed.set()

    @property
    def heartbeat_age_s(self) -> float:
        """Seconds since the last heartbeat."""
        return self._clock() - self._beat

    @property
    def batch_age_s(self) -> float:
        """Seconds since the oldest batch in flight began; 0 if there is none."""
        began = min(list(self._batches.values()), default=None)
        return 0.0 if began is None else self._clock() - began

    @property
    def live(self) -> bool:
        """False if the worker should be restarted."""
        if self.failure is not None:
            return False
        if not self.started:
            return True
        return self.heartbeat_age_s <= self._heartbeat_limit_s and self.batch_age_s <= self._batch_limit_s

    @property
    def stale(self) -> bool:
        """True if the worker's data are older than they should be. It still answers."""
        if self.source_stale:
            return True
        return self.stale_after_s is not None and self._clock() - self._fresh > self.stale_after_s

    @property
    def accepts(self) -> bool:
        """True if the worker can do its work now: it has started, is ready, and waits for no service."""
        return self.started and self.ready and self.hold is None


def operations_routes(health: Health, worker: WorkerKind) -> list[Route]:
    """The routes `/healthz` (503: restart this worker), `/readyz` (503: send no work yet) and `/metrics`, which shows
    the metrics that are declared for this kind of worker."""
    show_build()

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
        ready = health.accepts
        waiting_for = health.waiting_for if hold is None else f"the {hold['service']}, which does not answer"
        body = {"ready": ready, "stale": health.stale, "waiting_for": waiting_for, "hold": hold}
        body["degraded"] = health.degraded
        if health.standby:
            body["standby"] = True
        return JSONResponse(body, 200 if ready else 503, headers=None if ready else {"retry-after": "1"})

    def show_metrics(request: Request) -> Response:
        metrics.READY.set(health.accepts or health.standby)
        metrics.STALE.set(health.stale)
        metrics.HEARTBEAT_AGE.set(health.heartbeat_age_s if health.started else 0.0)
        metrics.BATCH_AGE.set(health.batch_age_s)
        if "application/openmetrics-text" in request.headers.get("accept", ""):  # only this format has exemplars
            text: bytes = openmetrics.generate_latest(registry_of(worker))  # type: ignore[no-untyped-call]
            return Response(text, media_type=openmetrics.CONTENT_TYPE_LATEST)
        return Response(generate_latest(registry_of(worker)), media_type=CONTENT_TYPE_LATEST)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", show_metrics)]


def waiting_room(health: Health, worker: WorkerKind) -> Starlette:
    """The application of a worker that cannot build its own yet: `operations_routes`, and 503 for everything else."""

    async def later(_: Request) -> Response:
        detail = f"this worker is not ready, it waits for {health.waiting_for}; ask again"
        raise Problem(503, "not-ready", detail, retry_after_s=1)

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]  # a 405 would tell a client not to ask again
    routes = [*operations_routes(health, worker), Route("/{path:path}", later, methods=methods)]
    return Starlette(routes=routes, exception_handlers=dict(HANDLERS))


class Server:
    """A running HTTP server, built by `serve`."""

    def __init__(self, server: uvicorn.Server, thread: threading.Thread, host: str, port: int) -> None:
        self._server = server
        self._thread = thread
        self.host = host
        self.port = port

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def running(self) -> bool:
        """False if the server has ended, whether by `stop` or by an error."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Accept no more connections, finish open requests within 10 s, and return. Idempotent."""
        self._server.should_exit = True
        self._thread.join(STOP_S)
        if self._thread.is_alive():
            _log.warning("HTTP on port %d did not stop within %d s; it ends with the process", self.port, STOP_S)


def serve(app: ASGIApp, host: str, port: int, limits: HttpLimits | None = None) -> Server:
    """Serve `app` from a thread, and return when the port answers. Port 0 takes a free one (see `Server.port`).

    Connections are bounded by `limits`, by default those of `HttpLimits`.

    Raises:
        PortTaken: another process listens on this port.
        ConfigError: the address cannot be used; the message names host and port.
        RuntimeError: the application did not start.
    """
    limits = limits or HttpLimits()
    listener = _listen(host, port)
    config = uvicorn.Config(
        RequestChecks(app, allowed_hosts=limits.allowed_hosts, own_host=host),
        http=bounded(limits),
        proxy_headers=bool(limits.trusted_proxies),
        forwarded_allow_ips=list(limits.trusted_proxies),
        timeout_keep_alive=limits.idle_timeout_s,
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
        with suppress(SystemExit):  # uvicorn raises it if the application does not start
            server.run([listener])

    thread = threading.Thread(target=run, name=f"http-{bound}", daemon=True)
    thread.start()
    deadline = time.monotonic() + START_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            server.should_exit = True
            listener.close()
            raise RuntimeError(f"the HTTP application on port {bound} did not start; the log above says why")
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
