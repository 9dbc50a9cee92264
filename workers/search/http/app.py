"""Builds the ASGI application of the search service and its threads."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engines.pixels import decode_memory_held, formats_taken, limit_decode_memory
from engines.recognition import RecognitionEngine
from engines.words import Phrases
from schemas.errors import EpochMismatch, Reject, Transient
from schemas.manifest import Manifest
from workers.catching_up import CatchingUp
from workers.hidden_heads import SEARCH, without_heads
from workers.http.problems import FAULT, HANDLERS, Problem
from workers.http.serving import Health, operations_routes
from workers.intake import Intake
from workers.search.find.finder import Finder
from workers.search.find.indexers import Indexers
from workers.search.find.inference import Inference
from workers.search.find.labels.naming import Names
from workers.search.find.labels.usefulness import Usefulness
from workers.search.find.looking import QueryPhotos
from workers.search.http.admission import PHOTO_COST, READ_COST, Admission
from workers.search.http.keeping import Keeping
from workers.search.http.openapi.document import describe
from workers.search.http.readiness import ReadinessProbe
from workers.search.http.recogniser import Recogniser
from workers.search.http.routes.feedback_routes import FeedbackHandlers
from workers.search.http.routes.id_route import IdRoute
from workers.search.http.routes.listing_routes import ListingHandlers
from workers.search.http.routes.page_routes import page_routes
from workers.search.http.routes.photo_routes import PhotoHandlers
from workers.search.http.routes.product_routes import ProductHandlers
from workers.search.http.routes.suggestion_routes import SuggestionHandlers
from workers.search.http.routes.typed_routes import TypedHandlers
from workers.search.http.stored import StoredListings
from workers.search.http.threads import Threads
from workers.search.settings import SearchSettings
from workers.search.typed.finder import TypedFinder
from workers.search.typed.follower import Follower
from workers.search.typed.label_index import LabelIndex
from workers.search.typed.query import Reader
from workers.search.typed.text_model import TextSearch, TextTower
from workers.stages.detect import Looking
from workers.stores import Store
from workers.streams import Stream
from workers.watching import metrics, typed_metrics

_log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]


def build_search(
    settings: SearchSettings,
    *,
    store: Store,
    engine: RecognitionEngine,
    health: Health,
    intake: Intake | None = None,
    kept: Path | None = None,
    looking: Looking | None = None,
    stream: Stream | None = None,
    tower: TextTower | None = None,
    find_indexers: Callable[[], Sequence[str]] | None = None,
) -> Starlette:
    """Build the search service. Its threads start and end with the lifespan of the application.

    `health` becomes ready when the engine is warm and all indexers are ready, and names the store or the stream under
    `degraded` while it is away. `health.failed` is set if the engine fails. The caller closes the store and the engine
    after the server has stopped. `intake` fetches photos of listings, and is closed with the application; without it
    there are only thumbnails. `looking` has the detector that requests may ask for; the caller closes it, too. `kept`
    is the file of kept searches and judgements, which `settings.keep` may allow. What is too old leaves it in any case.
    `tower` finds photos by words that no label means; it needs `stream`. `find_indexers`: see `Indexers`.
    `stream` says what goes with what, and what has changed, which typed queries need; without it there are none.

    Raises:
        ConfigError: `hidden_heads` names a head, or `synonyms` a label, that the bundle does not have.
    """
    limit_decode_memory(settings.decode_memory_mb)
    metrics.DECODE_MEMORY.set_function(decode_memory_held)
    manifest = engine.manifest
    shown = without_heads(manifest, settings.hidden_heads, SEARCH)
    urls, callers = settings.indexer_urls, settings.max_waiting
    indexers = Indexers(urls, settings.indexer_timeout_s, callers, manifest.epoch, find_indexers)
    inference = _inference(settings, engine, looking, health)
    threads = _threads(settings)
    admission = Admission(settings)
    names = Names(manifest, Usefulness(manifest, settings.category_columns, settings.hidden_heads))
    finder = Finder(store, indexers, manifest, names, rescore=settings.rescore)
    stored = StoredListings(store, manifest, threads, intake if settings.fetch_threads else None)
    suggestions = SuggestionHandlers(
        settings, finder=finder, names=names, stored=stored, threads=threads, health=health, store=store, stream=stream
    )
    texts = None if tower is None else TextSearch(tower, finder)
    typed = _typed(settings, stream, store, names, manifest=shown, threads=threads, health=health, texts=texts)
    photos = PhotoHandlers(
        settings,
        manifest=shown,
        recogniser=Recogniser(QueryPhotos(manifest, looking, settings.max_boxes, health), inference, threads),
        finder=finder,
        names=names,
        stored=stored,
        threads=threads,
        health=health,
        admission=admission,
        pricing=suggestions.pricing,
        typed=typed.handlers,
    )
    listings = ListingHandlers(
        settings, indexers=indexers, finder=finder, names=names, stored=stored, threads=threads, health=health
    )
    products = ProductHandlers(store, threads)
    keeping = Keeping(settings, kept)
    feedback = FeedbackHandlers(settings, ledger=keeping.ledger, writer=keeping.writer, manifest=shown, threads=threads)
    progress = {"labels": typed.progress, "occasions": suggestions.progress}
    followers = {name: one for name, one in progress.items() if one is not None}
    probe = ReadinessProbe(health, indexers, store, settings.probe_interval_s, followers)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        model = manifest.model_version, engine.backend, manifest.epoch
        metrics.MODEL_INFO.labels(*model).set(1)
        _show_zeros(detects=looking is not None)
        inference.start()
        probe.start()
        typed.start()
        suggestions.start()
        async with keeping.running():
            yield
        inference.close()
        threads.close()
        typed.stop()
        if intake is not None:
            intake.close()
        probe.stop()
        suggestions.close()
        indexers.close()
        metrics.MODEL_INFO.remove(*model)  # the next epoch's model, if there is one, is shown already

    return Starlette(
        routes=[
            *_api_routes(admission, photos, listings, suggestions, keeping, feedback, products),
            Route("/openapi.json", _described(describe(settings))),
            *page_routes(settings, formats_taken(), detects=looking is not None, types=typed.follower is not None),
            *operations_routes(health, "search"),
        ],
        exception_handlers=dict(HANDLERS),
        lifespan=lifespan,
    )


@dataclass(frozen=True, slots=True)
class _Typed:
    """Typed queries, and what keeps their index live; None if there are none."""

    handlers: TypedHandlers
    follower: Follower | None

    @property
    def progress(self) -> CatchingUp | None:
        return None if self.follower is None else self.follower.progress

    def start(self) -> None:
        if self.follower is not None:
            self.follower.start()

    def stop(self) -> None:
        if self.follower is not None:
            self.follower.stop()


def _typed(
    settings: SearchSettings,
    stream: Stream | None,
    store: Store,
    names: Names,
    *,
    manifest: Manifest,
    threads: Threads,
    health: Health,
    texts: TextSearch | None,
) -> _Typed:
    """`manifest` has the heads that may be shown. Raises ConfigError for a synonym of a label that it lacks."""
    phrases = Phrases(manifest, settings.synonyms, settings.hidden_heads)
    finder = follower = None
    if stream is not None and settings.max_typed_listings:
        index = LabelIndex(settings.max_typed_listings, settings.max_typed_words)
        follower = Follower(index, stream=stream, store=store, names=names, epoch=manifest.epoch)
        finder = TypedFinder(index, follower, Reader(manifest, phrases), store, names, texts=texts)
    handlers = TypedHandlers(settings, manifest=manifest, finder=finder, threads=threads, health=health)
    return _Typed(handlers, follower)


def _api_routes(  # noqa: PLR0917 (the handlers of the API)
    admission: Admission,
    photos: PhotoHandlers,
    listings: ListingHandlers,
    suggestions: SuggestionHandlers,
    keeping: Keeping,
    feedback: FeedbackHandlers,
    products: ProductHandlers,
) -> list[Route]:
    """The routes below `/v1`, the longer paths first."""

    def route(path: str, endpoint: Endpoint, method: str = "GET", cost: float = READ_COST) -> Route:
        pattern = path.replace("{listing_id}", "{listing_id:path}")  # an id may hold slashes
        return IdRoute(pattern, _admitted(path, endpoint, admission, cost), methods=[method])

    return [
        route("/v1/search", keeping.around(photos.search), "POST", PHOTO_COST),
        route("/v1/predict", photos.predict, "POST", PHOTO_COST),
        route("/v1/listings:batch", listings.batch, "POST"),
        route("/v1/listings/{listing_id}/similar", listings.similar),
        route("/v1/listings/{listing_id}/duplicates", listings.duplicates),
        *(route("/v1/listings/{listing_id}/" + name, endpoint) for name, endpoint in suggestions.endpoints.items()),
        route("/v1/listings/{listing_id}", listings.listing),
        route("/v1/products/{product_id}", products.product),
        route("/v1/thumbnail", listings.thumbnail),
        route("/v1/photo", listings.photo, cost=PHOTO_COST),
        route("/v1/recent", listings.recent),
        route("/v1/feedback", feedback.feedback, "POST"),
    ]


def _threads(settings: SearchSettings) -> Threads:
    return Threads(
        decode_threads=settings.decode_threads,
        read_threads=settings.max_waiting,
        fetch_threads=max(1, settings.fetch_threads),
        answer_timeout_s=settings.answer_timeout_s,
        max_requests=settings.max_requests,
    )


def _show_zeros(*, detects: bool) -> None:
    """Series that exist before the first request, so that a rate over them is 0 and not missing."""
    if detects:
        metrics.DETECT_ERRORS.labels("DeviceLost")
    for found in ("yes", "no"):
        typed_metrics.TYPED_SEARCHES.labels(found)
    for understood in ("label", "corrected", "title", "text", "no"):
        typed_metrics.TYPED_PHRASES.labels(understood)
    for step in ("decode", "recognise", "find", "typed", "total"):
        metrics.SEARCH_SECONDS.labels(step)
    for status in ("200", "500", "503"):
        metrics.SEARCH_REQUESTS.labels("/v1/search", status)
    for close in ("yes", "no"):
        metrics.SEARCHES.labels(close)


def _inference(
    settings: SearchSettings, engine: RecognitionEngine, looking: Looking | None, health: Health
) -> Inference:
    """The engine's queue, which has room for all frames, or all boxes, of every request that is let in."""
    parts = max(
        settings.max_frames, settings.max_boxes + 1 if looking is not None else 1
    )  # nearest: and the whole photo
    return Inference(
        engine,
        health,
        max_waiting=parts * settings.max_waiting,
        timeout_s=settings.answer_timeout_s,
        detector=None if looking is None else looking.detector,
    )


def _admitted(route: str, endpoint: Endpoint, admission: Admission, cost: float) -> Endpoint:
    """Wrap a route: check admission, turn known errors into problems, and count answers by route and status."""

    async def answer(request: Request) -> Response:
        try:
            admission.admit(request, cost)
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
