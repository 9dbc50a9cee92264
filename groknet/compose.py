"""Each worker put together from the configuration: which stream, store, engine and folder it runs on."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.types import ASGIApp

from engines.recognition import RecognitionEngine, build_engine
from groknet.config import Loaded, load_config
from groknet.epochs import beside_name, epoch_of, every_indexer
from groknet.opening import Opening
from groknet.process import Process, worker_process
from groknet.services import Lock, holder_of, usual_port
from schemas.errors import ConfigError, GroknetError
from schemas.manifest import load_manifest
from workers.collector import spare_collector
from workers.indexer import build_indexer
from workers.intake import Intake
from workers.search import build_search
from workers.search.switchboard import Switchboard
from workers.serving import GRACE_S, Health, PortTaken, Server, operations_routes, serve, waiting_room
from workers.stores import Store
from workers.streams import build_stream
from workers.tagger import InHand, build_tagger

_log = logging.getLogger(__name__)
_DRAIN_MARGIN_S = 5.0  # beyond a worker's own budget, before the process is ended hard
_LOOK_S = 1.0  # between two looks at the epoch that a home is on
_AGAIN_S = 10.0  # after a change of the epoch that failed
_SWITCH_S = 0.001  # a search waits so long, not Python's 5 ms, for a merge or a writer to hand over the interpreter
INDEXER_DRAIN_S = 25.0  # a last snapshot of a million hashes takes seconds


def run_tagger(loaded: Loaded, port: int | None, slot: int | None = None) -> None:
    """Be a tagger of a home, the one of `slot` or the first that is not there, until told to stop; returns after the
    drain."""
    settings = loaded.config.tagger
    with (
        worker_process(loaded.home, "tagger", settings.drain_budget_s + _DRAIN_MARGIN_S, slot=slot) as process,
        ExitStack() as stack,
    ):
        health = Health()
        in_hand = InHand()
        app = Starlette(routes=[*operations_routes(health), *in_hand.routes()])
        _serve(process, stack, app, settings.host, settings.port if port is None else port)
        opening = Opening(process, loaded, health)
        stream = opening.stream()
        store = opening.store(stack)
        engine = _engine(loaded, stack)
        opening.topics(stream, engine.manifest.epoch)
        tagger = build_tagger(
            settings,
            stream=stream,
            store=store,
            engine=engine,
            intake=Intake(loaded.config.intake),
            home=loaded.home.root,
            health=health,
            in_hand=in_hand,
        )
        if loaded.follows:
            threading.Thread(target=_end_on_change, args=(process, loaded), name="epoch-watch", daemon=True).start()
        spare_collector()
        tagger.run(process.stop)


def _end_on_change(process: Process, loaded: Loaded) -> None:
    """Drain once the home is on another epoch, so that this worker is started anew with its bundle."""
    while not process.stop.wait(_LOOK_S):
        if _bundle_in_force(loaded) != loaded.config.engine.bundle:
            _log.info("the home is on another epoch now: draining, to be started with its bundle")
            process.stop.set()


def _bundle_in_force(loaded: Loaded) -> str:
    """The bundle that a worker should have; the present one while the file cannot be read."""
    try:
        return load_config(loaded.home).config.engine.bundle
    except GroknetError as error:
        _log.warning("%s", error)
        return loaded.config.engine.bundle


def run_indexer(loaded: Loaded, port: int | None, *, beside: bool = False) -> None:
    """Be the indexer of a home, or of one of its other epochs `beside` it, until told to stop; returns after its last
    snapshot."""
    settings = loaded.config.indexer
    epoch = load_manifest(Path(loaded.config.engine.bundle)).epoch
    name = beside_name(epoch) if beside else "indexer"
    budget = INDEXER_DRAIN_S + _DRAIN_MARGIN_S
    with worker_process(loaded.home, "indexer", budget, name) as process, ExitStack() as stack:
        sys.setswitchinterval(_SWITCH_S)
        # Two processes would write one snapshot; one that is ending has its last one to write.
        stack.callback(Lock(loaded.home, f"index-{epoch}", budget).release)
        health = Health(stale_after_s=settings.stale_after_s)
        stream = build_stream(loaded.config.stream.url, name)
        indexer = build_indexer(settings, stream=stream, epoch=epoch, home=loaded.home.root, health=health)
        _serve(process, stack, indexer.app, settings.host, settings.port if port is None else port)
        Opening(process, loaded, health).topics(stream, epoch)
        gc.freeze()  # what is loaded by now stays: to look it all through takes 20 ms, and every search waits
        indexer.run(process.stop)


def run_search(loaded: Loaded, port: int | None) -> None:
    """Be the search service of a home until told to stop."""
    settings = loaded.config.search
    with (
        worker_process(loaded.home, "search", GRACE_S + _DRAIN_MARGIN_S) as process,
        ExitStack() as stack,
        ExitStack() as serving,  # ends first: requests under way need engine and store
    ):
        beginning = Health()
        board = Switchboard(waiting_room(beginning), beginning)
        server = _serve(process, serving, board, settings.host, settings.port if port is None else port)
        store = Opening(process, loaded, beginning).store(stack)
        beginning.waiting_for = "its engine, and an indexer of this home"
        first = _SearchLife.begin(loaded, process, store)
        searches = [first]

        @stack.callback
        def close_engine() -> None:
            searches[-1].engine.close()

        if process.stop.is_set():
            return
        board.begin(first.app, first.health)
        look = 0.0
        while not process.stop.wait(0.2):
            if board.health.failure is not None:
                raise board.health.failure
            if not server.running:
                raise RuntimeError("the HTTP server has ended; its reason is logged above")
            if loaded.follows and time.monotonic() >= look:
                changed = _change_over(board, searches[-1], process, store)
                look = time.monotonic() + (_LOOK_S if changed is searches[-1] else _AGAIN_S)
                searches[-1] = changed or searches[-1]


@dataclass(frozen=True, slots=True)
class _SearchLife:
    """A search service on one bundle."""

    loaded: Loaded
    app: Starlette
    engine: RecognitionEngine
    health: Health

    @classmethod
    def begin(cls, loaded: Loaded, process: Process, store: Store) -> _SearchLife:
        """Load the bundle, find the indexers; nothing runs yet."""
        section, health = loaded.config.engine, Health()
        engine = build_engine(Path(section.bundle), section.backend, section.threads, section.max_batch)
        urls = _find_indexers(process, loaded.config.search.indexer_urls, engine.manifest.epoch)
        settings = msgspec.structs.replace(loaded.config.search, indexer_urls=urls)
        return cls(loaded, build_search(settings, store=store, engine=engine, health=health), engine, health)


def _change_over(board: Switchboard, present: _SearchLife, process: Process, store: Store) -> _SearchLife | None:
    """Follow the home's epoch: what is in force afterwards, or None when that could not be done."""
    loaded = present.loaded
    bundle = _bundle_in_force(loaded)
    if bundle == loaded.config.engine.bundle:
        return present
    _log.info("changing over to %s", bundle)
    try:
        life = _SearchLife.begin(load_config(loaded.home), process, store)
    except GroknetError as error:
        _log.error("no change of the epoch: %s", error)
        return None

    def wanted() -> bool:
        return not process.stop.is_set() and board.health.failure is None and _bundle_in_force(loaded) == bundle

    if not board.change(life.app, life.health, wanted=wanted):
        life.engine.close()
        return None
    present.engine.close()
    _log.info("search is on epoch %s now", life.engine.manifest.epoch)
    return life


def _find_indexers(process: Process, configured: list[str], epoch: str) -> list[str]:
    """The configured indexers, else this home's, once one of this epoch answers; empty when told to stop first."""
    told = False
    while not process.stop.is_set():
        urls = every_indexer(process.home, configured)
        if configured or any(epoch_of(url) == epoch for url in urls):
            return urls
        if not told:
            _log.info("waiting for an indexer of epoch %s on this home; start it, or give search.indexer_urls", epoch)
            told = True
        process.stop.wait(0.1)
    return []


def _engine(loaded: Loaded, stack: ExitStack) -> RecognitionEngine:
    section = loaded.config.engine
    engine = build_engine(Path(section.bundle), section.backend, section.threads, section.max_batch)
    stack.callback(engine.close)
    return engine


def _serve(process: Process, stack: ExitStack, app: ASGIApp, host: str, base: int) -> Server:
    """Serve and announce. `base` is the port of a home's first tagger, each following one has the next; 0 is this
    worker's usual free one. Raises ConfigError when another process has the port, and says which."""
    port = usual_port(process.home, process.name, host, base and base + process.slot)
    try:
        server = serve(app, host, port)
    except PortTaken as taken:
        count = f", {process.worker}.port + {process.slot}," if process.slot else ""
        text = f"{process.name}: port {port}{count} on {host} is taken by {holder_of(process.home, host, port)}"
        remedy = f"stop that, or choose another with --port or {process.worker}.port (0: any free one)"
        raise ConfigError(f"{text}; {remedy}") from taken
    stack.callback(server.stop)
    process.announce(server.host, server.port)
    return server
