"""The list of a home's workers for Prometheus, which `groknet run all` serves, and the supervisor's own metrics.

`GET /targets` answers in the format of Prometheus' HTTP service discovery. Every worker that has announced itself is in
it, also a tagger that was started by hand with `groknet run tagger`. The labels are `worker` (tagger, indexer, search,
products or supervisor) and `name` (its name in the home). A tagger that was added, or a port that has changed, needs no
change of Prometheus' configuration.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from groknet.home.config import Loaded
from groknet.home.running import Running
from groknet.home.taggers import running_taggers
from groknet.run.supervisor import Supervisor
from schemas.errors import ConfigError
from workers.build_info import show_build
from workers.http.serving import PortTaken, Server, serve
from workers.watching import metrics
from workers.watching.declared import registry_of

_log = logging.getLogger(__name__)
_EVERYWHERE = ("0.0.0.0", "::", "")

Found = tuple[str, str, Running]
"""The kind of a worker, its name in the home, and its announcement."""


def build_targets_app(workers: Callable[[], Sequence[Found]], measure: Callable[[], None]) -> Starlette:
    """The routes `/targets` and `/metrics`. `workers` lists the announced workers; `measure` sets the supervisor's
    metrics."""

    def targets(request: Request) -> Response:
        here = request.url.hostname or "127.0.0.1"
        own = f"{_bracketed(here)}:{request.url.port or 80}"
        groups = [{"targets": [own], "labels": {"worker": "supervisor", "name": "supervisor"}}]
        for worker, name, running in workers():
            host = here if running.host in _EVERYWHERE else running.host  # as the asking Prometheus reaches us
            target = f"{_bracketed(host)}:{running.port}"
            groups.append({"targets": [target], "labels": {"worker": worker, "name": name}})
        return JSONResponse(groups)

    def show_metrics(_: Request) -> Response:
        measure()
        return Response(generate_latest(registry_of("supervisor")), media_type=CONTENT_TYPE_LATEST)

    show_build()
    return Starlette(routes=[Route("/targets", targets), Route("/metrics", show_metrics)])


def serve_targets(loaded: Loaded, supervisor: Supervisor) -> Server:
    """Serve the target list of a supervisor on the configured port. If none is configured and the default is taken, any
    free one is used. Raises ConfigError if a configured port is taken."""

    def workers() -> list[Found]:
        found = [(child.spec.worker, child.spec.name, child.running()) for child in supervisor.children.copy()]
        mine: list[Found] = [(worker, name, running) for worker, name, running in found if running is not None]
        known = {name for _, name, _ in mine}
        return mine + [("tagger", name, one) for name, one in running_taggers(loaded.home).items() if name not in known]

    def measure() -> None:
        started_by_hand = running_taggers(loaded.home)
        for child in supervisor.children.copy():
            name = child.spec.name
            metrics.GAVE_UP.labels(name).set(bool(child.gave_up) and name not in started_by_hand)

    app, section = build_targets_app(workers, measure), loaded.config.targets
    try:
        return serve(app, section.host, section.port)
    except PortTaken as error:
        if loaded.configured_port("targets") is not None:
            raise ConfigError(f"targets.{error}") from None
        _log.info("port %d is taken; the target list takes another", section.port)
        return serve(app, section.host, 0)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
