"""Each worker put together from the configuration: which stream, store, engine and folder it runs on."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.types import ASGIApp

from engines.recognition import RecognitionEngine, build_engine
from groknet.config import Loaded
from groknet.epochs import beside_name, epoch_of, every_indexer, in_force
from groknet.ports import make_epoch_topics, open_store, open_stream
from groknet.presence import LOOK_S, Follower
from groknet.process import Process, worker_process
from groknet.services import Lock, usual_port
from schemas.errors import GroknetError
from schemas.manifest import load_manifest
from workers.collector import spare_collector
from workers.indexer import build_indexer
from workers.intake import Intake
from workers.search import build_search
from workers.search.switchboard import Switchboard
from workers.serving import GRACE_S, Health, Server, operations_routes, serve
from workers.stores import Store, build_store
from workers.tagger import build_tagger

_log = logging.getLogger(__name__)
_DRAIN_MARGIN_S = 5.0  # beyond a worker's own budget, before the process is ended hard
_AGAIN_S = 10.0  # after a change of the epoch that failed
_SWITCH_S = 0.001  # a search waits so long, not Python's 5 ms, for a merge or a writer to hand over the interpreter
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
        store = stack.enter_context(open_store(loaded))
        loaded = in_force(loaded, store)
        stream = stack.enter_context(open_stream(loaded, "tagger"))
        engine = _engine(loaded, stack)
        make_epoch_topics(stream, engine.manifest.epoch)
        tagger = build_tagger(
            settings,
            stream=stream,
            store=store,
            engine=engine,
            intake=Intake(loaded.config.intake),
            home=loaded.home.root,
            health=health,
        )
        follower = _follow(stack, Follower(loaded, process.worker, process.name, lambda: store))
        ending = _Ending(process.stop, follower, Path(loaded.config.engine.bundle))
        spare_collector()
        tagger.run(ending.stop)
    if ending.anew and not process.stop.is_set():
        _log.info("starting anew with the bundle of the epoch in force")
        os.execv(sys.executable, sys.orig_argv)  # the same process to its supervisor, and a clean one to the engine


class _Ending:
    """Sets `stop` when the process is told to stop, or when the worker should run another bundle (`anew`)."""

    def __init__(self, told: threading.Event, follower: Follower, present: Path) -> None:
        self.stop = threading.Event()
        self.anew = False
        self._told = told
        self._follower = follower
        self._present = present
        threading.Thread(target=self._run, name="tagger-ending", daemon=True).start()

    def _run(self) -> None:
        while not self._told.wait(LOOK_S) and self._follower.wanted == self._present:
            pass
        if not self._told.is_set():
            _log.info("another epoch is in force: draining, to start with its bundle %s", self._follower.wanted)
            self._follower.stay_announced()
            self.anew = True
        self.stop.set()


def _follow(stack: ExitStack, follower: Follower) -> Follower:
    """Start it, and end it with the worker."""
    stack.callback(follower.close)
    follower.start()
    return follower


def run_indexer(loaded: Loaded, port: int | None, *, beside: bool = False) -> None:
    """Be the indexer of a home, or of one of its other epochs `beside` it, until told to stop; returns after its last
    snapshot."""
    settings = loaded.config.indexer
    if loaded.follows:
        with open_store(loaded) as store:
            loaded = in_force(loaded, store)
    epoch = load_manifest(Path(loaded.config.engine.bundle)).epoch
    name = beside_name(epoch) if beside else "indexer"
    budget = INDEXER_DRAIN_S + _DRAIN_MARGIN_S
    with worker_process(loaded.home, "indexer", budget, name) as process, ExitStack() as stack:
        sys.setswitchinterval(_SWITCH_S)
        # Two processes would write one snapshot; one that is ending has its last one to write.
        stack.callback(Lock(loaded.home, f"index-{epoch}", budget).release)
        health = Health(stale_after_s=settings.stale_after_s)
        stream = stack.enter_context(open_stream(loaded, "indexer"))
        make_epoch_topics(stream, epoch)
        indexer = build_indexer(settings, stream=stream, epoch=epoch, home=loaded.home.root, health=health)
        _serve(process, stack, indexer.app, settings.host, settings.port if port is None else port)
        url = loaded.config.store.url  # its own store: searches go on without one
        _follow(stack, Follower(loaded, process.worker, process.name, lambda: build_store(url), owned=True))
        gc.freeze()  # what is loaded by now stays: to look it all through takes 20 ms, and every search waits
        indexer.run(process.stop)


def run_search(loaded: Loaded, port: int | None) -> None:
    """Be the search service of a home until told to stop."""
    settings = loaded.config.search
    with worker_process(loaded.home, "search", GRACE_S + _DRAIN_MARGIN_S) as process, ExitStack() as stack:
        store = stack.enter_context(open_store(loaded))
        loaded = in_force(loaded, store)
        first = _SearchLife.begin(loaded, process, store, lambda: not process.stop.is_set())
        if process.stop.is_set():
            return
        searches = [first]

        @stack.callback
        def close_engine() -> None:
            searches[-1].engine.close()

        board = Switchboard(first.app, first.health)
        server = _serve(process, stack, board, settings.host, settings.port if port is None else port)

        def obstacle(epoch: str) -> str:
            return _no_indexer(process, settings.indexer_urls, epoch)

        follower = _follow(stack, Follower(loaded, process.worker, process.name, lambda: store, obstacle=obstacle))
        look = 0.0
        while not process.stop.wait(0.2):
            if board.health.failure is not None:
                raise board.health.failure
            if not server.running:
                raise RuntimeError("the HTTP server has ended; its reason is logged above")
            if time.monotonic() >= look:
                changed = _change_over(board, searches[-1], process, store, follower)
                look = time.monotonic() + (LOOK_S if changed is searches[-1] else _AGAIN_S)
                searches[-1] = changed or searches[-1]


@dataclass(frozen=True, slots=True)
class _SearchLife:
    """A search service on one bundle."""

    loaded: Loaded
    app: Starlette
    engine: RecognitionEngine
    health: Health

    @classmethod
    def begin(cls, loaded: Loaded, process: Process, store: Store, wanted: Callable[[], bool]) -> _SearchLife:
        """Load the bundle, find the indexers while it is `wanted`; nothing runs yet."""
        section, health = loaded.config.engine, Health()
        engine = build_engine(Path(section.bundle), section.backend, section.threads, section.max_batch)
        urls = _find_indexers(process, loaded.config.search.indexer_urls, engine.manifest.epoch, wanted)
        settings = msgspec.structs.replace(loaded.config.search, indexer_urls=urls)
        return cls(loaded, build_search(settings, store=store, engine=engine, health=health), engine, health)


def _change_over(
    board: Switchboard, present: _SearchLife, process: Process, store: Store, follower: Follower
) -> _SearchLife | None:
    """Follow the epoch in force: what is in force afterwards, or None when that could not be done."""
    bundle = follower.wanted
    if bundle == Path(present.loaded.config.engine.bundle):
        return present

    def wanted() -> bool:
        return not process.stop.is_set() and board.health.failure is None and follower.wanted == bundle

    _log.info("changing over to %s", bundle)
    try:
        life = _SearchLife.begin(present.loaded.with_bundle(bundle), process, store, wanted)
    except GroknetError as error:
        _log.error("no change of the epoch: %s", error)
        return None
    if not board.change(life.app, life.health, wanted=wanted):
        life.engine.close()
        return None
    follower.runs(bundle)
    present.engine.close()
    _log.info("search is on epoch %s now", life.engine.manifest.epoch)
    return life


def _find_indexers(process: Process, configured: list[str], epoch: str, wanted: Callable[[], bool]) -> list[str]:
    """The configured indexers, else this home's, once one of this epoch answers; empty when not `wanted` before."""
    told = False
    while wanted():
        urls = every_indexer(process.home, configured)
        if configured or any(epoch_of(url) == epoch for url in urls):
            return urls
        if not told:
            _log.info("waiting for an indexer of epoch %s on this home; start it, or give search.indexer_urls", epoch)
            told = True
        process.stop.wait(0.1)
    return []


def _no_indexer(process: Process, configured: list[str], epoch: str) -> str:
    """Why this home's search could not ask an index of an epoch; empty when one answers."""
    if any(epoch_of(url) == epoch for url in every_indexer(process.home, configured)):
        return ""
    return (
        f"no indexer of epoch {epoch} answers this search service; `groknet run all` starts one where the bundle is, "
        "else `groknet run indexer --beside --bundle DIR`, and name it in search.indexer_urls"
    )


def _engine(loaded: Loaded, stack: ExitStack) -> RecognitionEngine:
    section = loaded.config.engine
    engine = build_engine(Path(section.bundle), section.backend, section.threads, section.max_batch)
    stack.callback(engine.close)
    return engine


def _serve(process: Process, stack: ExitStack, app: ASGIApp, host: str, port: int) -> Server:
    """Serve and announce; a free port is this worker's usual one."""
    server = serve(app, host, usual_port(process.home, process.name, host, port))
    stack.callback(server.stop)
    process.announce(server.host, server.port)
    return server
