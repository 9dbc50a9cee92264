"""Each worker put together from the configuration: which stream, store, engine and folder it runs on."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.types import ASGIApp

from engines.recognition import RecognitionEngine, build_engine
from groknet.config import Loaded
from groknet.outcomes import indexer_urls
from groknet.ports import make_epoch_topics, open_store, open_stream
from groknet.process import Process, worker_process
from groknet.services import usual_port
from schemas.manifest import load_manifest
from workers.indexer import build_indexer
from workers.intake import Intake
from workers.search import build_search
from workers.serving import GRACE_S, Health, Server, operations_routes, serve
from workers.tagger import build_tagger

_log = logging.getLogger(__name__)
_DRAIN_MARGIN_S = 5.0  # beyond a worker's own budget, before the process is ended hard
INDEXER_DRAIN_S = 25.0  # a last snapshot of a million hashes takes seconds


def run_tagger(loaded: Loaded, port: int | None) -> None:
    """Be the tagger of a home until told to stop; returns after the drain."""
    settings = loaded.config.tagger
    with (
        worker_process(loaded.home, "tagger", settings.drain_budget_s + _DRAIN_MARGIN_S) as process,
        ExitStack() as stack,
    ):
        health = Health()
        app = Starlette(routes=operations_routes(health))
        _serve(process, stack, app, settings.host, settings.port if port is None else port)
        stream = stack.enter_context(open_stream(loaded, "tagger"))
        engine = _engine(loaded, stack)
        make_epoch_topics(stream, engine.manifest.epoch)
        tagger = build_tagger(
            settings,
            stream=stream,
            store=stack.enter_context(open_store(loaded)),
            engine=engine,
            intake=Intake(loaded.config.intake),
            home=loaded.home.root,
            health=health,
        )
        tagger.run(process.stop)


def run_indexer(loaded: Loaded, port: int | None) -> None:
    """Be the indexer of a home until told to stop; returns after its last snapshot."""
    settings = loaded.config.indexer
    with worker_process(loaded.home, "indexer", INDEXER_DRAIN_S + _DRAIN_MARGIN_S) as process, ExitStack() as stack:
        health = Health(stale_after_s=settings.stale_after_s)
        stream = stack.enter_context(open_stream(loaded, "indexer"))
        epoch = load_manifest(Path(loaded.config.engine.bundle)).epoch
        make_epoch_topics(stream, epoch)
        indexer = build_indexer(settings, stream=stream, epoch=epoch, home=loaded.home.root, health=health)
        _serve(process, stack, indexer.app, settings.host, settings.port if port is None else port)
        indexer.run(process.stop)


def run_search(loaded: Loaded, port: int | None) -> None:
    """Be the search service of a home until told to stop."""
    settings = loaded.config.search
    with worker_process(loaded.home, "search", GRACE_S + _DRAIN_MARGIN_S) as process, ExitStack() as stack:
        health = Health()
        store = stack.enter_context(open_store(loaded))
        engine = _engine(loaded, stack)
        urls = _find_indexers(process, settings.indexer_urls)
        if process.stop.is_set():
            return
        settings = msgspec.structs.replace(settings, indexer_urls=urls)
        app = build_search(settings, store=store, engine=engine, health=health)
        server = _serve(process, stack, app, settings.host, settings.port if port is None else port)
        while not process.stop.wait(0.2):
            if health.failure is not None:
                raise health.failure
            if not server.running:
                raise RuntimeError("the HTTP server has ended; its reason is logged above")


def _find_indexers(process: Process, configured: list[str]) -> list[str]:
    """The configured indexers, else this home's, once it has said where it answers; empty when told to stop first."""
    told = False
    while not process.stop.is_set():
        try:
            return indexer_urls(process.home, configured)
        except ConnectionError:
            if not told:
                _log.info("waiting for the indexer of this home; start it, or give search.indexer_urls")
                told = True
            process.stop.wait(0.1)
    return []


def _engine(loaded: Loaded, stack: ExitStack) -> RecognitionEngine:
    section = loaded.config.engine
    engine = build_engine(Path(section.bundle), section.backend, section.threads, section.max_batch)
    stack.callback(engine.close)
    return engine


def _serve(process: Process, stack: ExitStack, app: ASGIApp, host: str, port: int) -> Server:
    """Serve and announce; a free port is this worker's usual one."""
    server = serve(app, host, usual_port(process.home, process.worker, host, port))
    stack.callback(server.stop)
    process.announce(server.host, server.port)
    return server
