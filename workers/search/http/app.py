"""Builds the ASGI application of the search service and its threads."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engines.pixels import decode_memory_held, formats_taken, limit_decode_memory
from engines.recognition import RecognitionEngine
from schemas.errors import EpochMismatch, Reject, Transient
from workers import metrics
from workers.problems import FAULT, HANDLERS, Problem
from workers.search.find.finder import Finder
from workers.search.find.indexers import Indexers
from workers.search.find.inference import ENGINE_LABEL, Inference
from workers.search.find.naming import Names
from workers.search.http.admission import PHOTO_COST, READ_COST, Admission
from workers.search.http.listing_routes import ListingHandlers
from workers.search.http.openapi.document import describe
from workers.search.http.page_routes import page_routes
from workers.search.http.photo_routes import PhotoHandlers
from workers.search.http.stored import StoredListings
from workers.search.http.threads import Threads
from workers.search.settings import SearchSettings
from workers.serving import Health, operations_routes
from workers.stores import Store

_log = logging.getLogger(__name__)
_WARMING_S = 0.05  # between two checks while the engine warms up, which takes about a second

Endpoint = Callable[[Request], Awaitable[Response]]


def build_search(settings: SearchSettings, *, store: Store, engine: RecognitionEngine, health: Health) -> Starlette:
    """Build the search service. Its threads start and end with the lifespan of the application.

    `health` becomes ready when the engine is warm and all indexers are ready. `health.failed` is set if the engine
    fails. The caller closes the store and the engine after the server has stopped.
    """
    limit_decode_memory(settings.decode_memory_mb)
    metrics.DECODE_MEMORY.set_function(decode_memory_held)
    manifest = engine.manifest
    indexers = Indexers(
        settings.indexer_urls, settings.indexer_timeout_s, callers=settings.max_waiting, epoch=manifest.epoch
    )
    inference = Inference(engine, health, max_waiting=settings.max_waiting, timeout_s=settings.answer_timeout_s)
    threads = Threads(
        decode_threads=settings.decode_threads,
        read_threads=settings.max_waiting,
        answer_timeout_s=settings.answer_timeout_s,
    )
    names = Names(manifest)
    finder = Finder(store, indexers, manifest, names)
    stored = StoredListings(store, manifest, threads)
    photos = PhotoHandlers(
        settings,
        manifest=manifest,
        inference=inference,
        finder=finder,
        names=names,
        stored=stored,
        threads=threads,
        health=health,
    )
    listings = ListingHandlers(
        settings, indexers=indexers, finder=finder, names=names, stored=stored, threads=threads, health=health
    )
    admission = Admission(settings)
    stop = threading.Event()

    def probe() -> None:
        while not stop.is_set():
            state = indexers.state()
            health.source_stale = state.stale
            waiting_for = state.waiting_for if health.started else "the engine's first batch"
            if health.failure is None and waiting_for:
                health.mark_unready(waiting_for)
            elif health.failure is None:
                health.mark_ready()
            stop.wait(settings.probe_interval_s if health.started else _WARMING_S)

    def route(path: str, endpoint: Endpoint, method: str = "GET", cost: float = READ_COST) -> Route:
        pattern = path.replace("{listing_id}", "{listing_id:path}")  # an id may hold slashes
        return Route(pattern, _admitted(path, endpoint, admission, cost), methods=[method])

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        metrics.MODEL_INFO.labels(manifest.model_version, ENGINE_LABEL, manifest.epoch).set(1)
        inference.start()
        prober = threading.Thread(target=probe, name="search-probe", daemon=True)
        prober.start()
        yield
        stop.set()
        inference.close()
        threads.close()
        prober.join()
        indexers.close()

    return Starlette(
        routes=[
            route("/v1/search", photos.search, "POST", PHOTO_COST),
            route("/v1/predict", photos.predict, "POST", PHOTO_COST),
            route("/v1/listings:batch", listings.batch, "POST"),
            route("/v1/listings/{listing_id}/similar", listings.similar),
            route("/v1/listings/{listing_id}/duplicates", listings.duplicates),
            route("/v1/listings/{listing_id}", listings.listing),
            route("/v1/thumbnail", listings.thumbnail),
            route("/v1/recent", listings.recent),
            Route("/openapi.json", _described(describe(settings))),
            *page_routes(settings.max_upload_bytes, formats_taken()),
            *operations_routes(health),
        ],
        exception_handlers=dict(HANDLERS),
        lifespan=lifespan,
    )


def _admitted(route: str, endpoint: Endpoint, admission: Admission, cost: float) -> Endpoint:
    """Wrap a route: check admission, turn known errors into problems, and count answers by route and status."""

    async def answer(request: Request) -> Response:
        try:
            with admission.admit(request, cost):
                response = await endpoint(request)
        except (Problem, Reject, Transient, EpochMismatch) as error:
            response = _as_problem(error).response()
        except Exception:
            _log.exception("%s failed", route)
            response = Problem(500, "fault", FAULT).response()
        metrics.SEARCH_REQUESTS.labels(route, str(response.status_code)).inc()
        return response

    return answer


def _as_problem(error: Problem | Reject | Transient | EpochMismatch) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, Reject):
        return Problem(503, "busy", str(error), retry_after_s=1)
    if isinstance(error, EpochMismatch):
        return Problem(503, "epoch-mismatch", str(error), retry_after_s=30)
    code = "index-not-ready" if error.stage == "index" else "store-not-ready"
    return Problem(503, code, error.message, retry_after_s=2)


def _described(document: dict[str, object]) -> Endpoint:
    async def openapi(_: Request) -> Response:
        return JSONResponse(document)

    return openapi
