"""Composes each worker from the configuration: its stream, store, engine and folder."""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from starlette.applications import Starlette
from starlette.types import ASGIApp

from engines.detection import Detector
from engines.recognition import RecognitionEngine, load_bundle, read_hash_layer
from groknet.home.config import Loaded
from groknet.home.detecting import open_detector, query_looking
from groknet.home.epochs import beside_name, epoch_of, every_indexer
from groknet.home.hidden_heads import check_hidden_heads
from groknet.home.running import Lock, holder_of, port_candidates, remember_port
from groknet.run.fastest import open_engine
from groknet.run.minute_lines import Minutes
from groknet.run.opening import Opening
from groknet.run.presence import LOOK_S, Follower
from groknet.run.process import Process, worker_process
from schemas.baseline import load_baseline
from schemas.errors import ConfigError, GroknetError
from schemas.manifest import load_manifest
from workers.collector import spare_collector
from workers.http.connections import HttpLimits
from workers.http.serving import STOP_S, Health, PortTaken, Server, operations_routes, serve, waiting_room
from workers.indexer import build_indexer
from workers.intake import Intake
from workers.products import build_products
from workers.search import build_search, load_text_tower
from workers.search.http.switchboard import Switchboard
from workers.search.kept.ledger import FILE
from workers.stores import Store, build_store
from workers.streams import build_stream
from workers.tagger import InHand, build_tagger
from workers.watching import metrics

_log = logging.getLogger(__name__)
_LAST_PORT = 65_535
_DRAIN_MARGIN_S = 5.0  # after a worker's own budget; then the process is killed
PRODUCTS_DRAIN_S = 10.0  # the plan that is under way
_AGAIN_S = 10.0  # the pause after a failed change of the epoch
_SWITCH_S = 0.001  # how long a search waits for a merge or a writer to yield the interpreter; the default is 5 ms
INDEXER_DRAIN_S = 25.0  # a last snapshot of a million hashes takes seconds


def run_tagger(loaded: Loaded, port: int | None, slot: int | None = None) -> None:
    """Run a tagger of a home until the process is told to stop, and return after the drain. `slot` is its number in the
    home; by default the first free one."""
    settings = loaded.config.tagger
    ending: _Ending | None = None  # None if the process is told to stop while it waits for a service
    with (
        worker_process(loaded, "tagger", settings.drain_budget_s + _DRAIN_MARGIN_S, slot=slot) as process,
        ExitStack() as stack,
    ):
        health = Health()
        in_hand = InHand()
        app = Starlette(routes=[*operations_routes(health, "tagger"), *in_hand.routes()])
        limits = HttpLimits(allowed_hosts=settings.allowed_hosts)
        _serve(process, stack, app, settings.host, _Ports.of(loaded, "tagger", port), limits=limits)
        opening = Opening(process, loaded, health)
        store = opening.store(stack)
        loaded = opening.in_force(store)
        check_hidden_heads(loaded.config, Path(loaded.config.engine.bundle), ["tagger"])
        stream = opening.stream()
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
            baseline=load_baseline(Path(loaded.config.engine.bundle)),
            detector=_detector(loaded, stack),
        )
        follower = _follow(stack, Follower(loaded, process.worker, process.name, lambda: store))
        ending = _Ending(process.stop, follower, Path(loaded.config.engine.bundle))
        spare_collector()
        tagger.run(ending.stop)
    if ending is not None and ending.anew and not process.stop.is_set():
        _log.info("starting again with the bundle of the epoch in force")
        same_name = [] if "--slot" in sys.orig_argv else ["--slot", str(process.slot)]
        # For its supervisor it stays the same process with the same name. The engine gets a clean process.
        os.execv(sys.executable, [*sys.orig_argv, *same_name])


def run_products(loaded: Loaded, port: int | None) -> None:
    """Run the products worker of a home until the process is told to stop."""
    settings = loaded.config.products
    ending: _Ending | None = None  # None if the process is told to stop while it waits for a service
    with worker_process(loaded, "products", PRODUCTS_DRAIN_S + _DRAIN_MARGIN_S) as process, ExitStack() as stack:
        health = Health()
        app = Starlette(routes=operations_routes(health, "products"))
        limits = HttpLimits(allowed_hosts=settings.allowed_hosts)
        _serve(process, stack, app, settings.host, _Ports.of(loaded, "products", port), limits=limits)
        opening = Opening(process, loaded, health)
        store = opening.store(stack)
        loaded = opening.in_force(store)
        epoch = _epoch_of_bundle(loaded)
        stream = opening.stream(epoch)
        owner = f"{process.name} of {loaded.home.root} on {socket.gethostname()}"
        worker = build_products(settings, stream=stream, store=store, epoch=epoch, health=health, owner=owner)
        follower = _follow(stack, Follower(loaded, process.worker, process.name, lambda: store))
        ending = _Ending(process.stop, follower, Path(loaded.config.engine.bundle))
        worker.run(ending.stop)
    if ending is not None and ending.anew and not process.stop.is_set():
        _log.info("starting again with the epoch in force")
        os.execv(sys.executable, sys.orig_argv)  # for its supervisor it stays the same process


class _Ending:
    """Sets `stop` when the process is told to stop, or when the worker should run another bundle (`anew`)."""

    def __init__(self, told: threading.Event, follower: Follower, present: Path) -> None:
        self.stop = threading.Event()
        self.anew = False
        self._told = told
        self._follower = follower
        self._present = present
        threading.Thread(target=self._run, name="worker-ending", daemon=True).start()

    def _run(self) -> None:
        while not self._told.wait(LOOK_S) and self._follower.wanted == self._present:
            pass
        if not self._told.is_set():
            _log.info("another epoch is in force: draining, to start with its bundle %s", self._follower.wanted)
            self._follower.stay_announced()
            self.anew = True
        self.stop.set()


def _follow(stack: ExitStack, follower: Follower) -> Follower:
    """Start the follower, and close it when the worker ends."""
    stack.callback(follower.close)
    follower.start()
    return follower


def run_indexer(loaded: Loaded, port: int | None, *, beside: bool = False) -> None:
    """Run the indexer of a home until the process is told to stop, and return after its last snapshot. With `beside` it
    is a further indexer of the home, for another epoch."""
    settings = loaded.config.indexer
    name = beside_name(_epoch_of_bundle(loaded)) if beside else "indexer"
    budget = INDEXER_DRAIN_S + _DRAIN_MARGIN_S
    with (
        worker_process(loaded, "indexer", budget, name) as process,
        ExitStack() as stack,
        ExitStack() as serving,
    ):
        sys.setswitchinterval(_SWITCH_S)
        beginning = Health()
        board = Switchboard(waiting_room(beginning, "indexer"), beginning)
        ports = _Ports(0 if port is None else port) if beside else _Ports.of(loaded, "indexer", port)
        limits = HttpLimits(allowed_hosts=settings.allowed_hosts)
        _serve(process, serving, board, settings.host, ports, limits=limits)
        if loaded.follows:
            opening = Opening(process, loaded, beginning)
            with ExitStack() as looking:
                loaded = opening.in_force(opening.store(looking))
        epoch = _epoch_of_bundle(loaded)
        # Two processes must not write the same snapshot, and an indexer that is ending still writes its last one.
        stack.callback(Lock(loaded.home, f"index-{epoch}", budget).release)
        health = Health(stale_after_s=settings.stale_after_s)
        stream = build_stream(loaded.config.stream.url, name)
        indexer = build_indexer(settings, stream=stream, epoch=epoch, home=loaded.home.root, health=health)
        board.begin(indexer.app, health)
        Opening(process, loaded, health).topics(stream, epoch)
        url = loaded.config.store.url  # its own store, because searches work without one
        _follow(stack, Follower(loaded, process.worker, process.name, lambda: build_store(url), owned=True))
        gc.freeze()  # these objects stay; a collection of them takes 20 ms, and every search waits for it
        indexer.run(process.stop)


def _epoch_of_bundle(loaded: Loaded) -> str:
    return load_manifest(Path(loaded.config.engine.bundle)).epoch


def run_search(loaded: Loaded, port: int | None) -> None:
    """Run the search service of a home until the process is told to stop."""
    settings = loaded.config.search
    with (
        worker_process(loaded, "search", STOP_S + _DRAIN_MARGIN_S) as process,
        ExitStack() as stack,
        ExitStack() as serving,  # ends first, because open requests need engine and store
    ):
        beginning = Health()
        board = Switchboard(waiting_room(beginning, "search"), beginning)
        ports = _Ports(settings.port if port is None else port)
        server = _serve(process, serving, board, settings.host, ports, limits=settings.http_limits())
        opening = Opening(process, loaded, beginning)
        store = opening.store(stack)
        loaded = opening.in_force(store)
        beginning.waiting_for = "its engine, and an indexer of this home"
        first = _SearchLife.begin(loaded, process, store, lambda: not process.stop.is_set())
        searches = [first]

        @stack.callback
        def close_engine() -> None:
            searches[-1].close()

        if process.stop.is_set():
            return
        board.begin(first.app, first.health)

        def obstacle(epoch: str) -> str:
            return _no_indexer(process, settings.indexer_urls, epoch)

        follower = _follow(stack, Follower(loaded, process.worker, process.name, lambda: store, obstacle=obstacle))
        look = 0.0
        each_minute = Minutes(metrics.SEARCH_REQUESTS, "status", "requests answered")
        while not process.stop.wait(0.2):
            each_minute()
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
    epoch: str
    health: Health
    opened: ExitStack
    """Has the engine and the detector."""

    def close(self) -> None:
        """Release the engine and the detector."""
        self.opened.close()

    @classmethod
    def begin(cls, loaded: Loaded, process: Process, store: Store, wanted: Callable[[], bool]) -> _SearchLife:
        """Load the bundle and find the indexers, as long as it is `wanted`. It does not serve yet. If a step fails,
        what the steps before it opened is closed."""
        check_hidden_heads(loaded.config, Path(loaded.config.engine.bundle), ["search"])
        health = Health()
        with ExitStack() as stack:
            engine = _engine(loaded, stack)
            configured = loaded.config.search.indexer_urls
            urls = _find_indexers(process, configured, engine.manifest.epoch, wanted)
            looking = query_looking(loaded, engine.manifest)
            if looking is not None:
                stack.callback(looking.detector.close)
            name = loaded.config.search.text_model
            tower = load_text_tower(name, read_hash_layer(load_bundle(loaded.config.engine.bundle))) if name else None
            app = build_search(
                msgspec.structs.replace(loaded.config.search, indexer_urls=urls),
                store=store,
                engine=engine,
                health=health,
                intake=Intake(loaded.config.intake),
                looking=looking,
                kept=loaded.home.root / FILE,
                stream=build_stream(loaded.config.stream.url, process.name),
                tower=tower,
                find_indexers=None if configured else lambda: every_indexer(process.home, ()),
            )
            return cls(loaded, app, engine.manifest.epoch, health, stack.pop_all())


def _change_over(
    board: Switchboard, present: _SearchLife, process: Process, store: Store, follower: Follower
) -> _SearchLife | None:
    """Change over to the epoch in force. Returns the new state, or None if the change failed."""
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
    with ExitStack() as stack:
        stack.callback(life.close)
        if not board.change(life.app, life.health, wanted=wanted):
            return None
        stack.pop_all()
    follower.runs(bundle)
    present.close()
    _log.info("search runs on epoch %s now", life.epoch)
    return life


def _find_indexers(process: Process, configured: list[str], epoch: str, wanted: Callable[[], bool]) -> list[str]:
    """Wait until an indexer of this epoch answers, and return the configured indexers, or else those of this home.
    Returns an empty list if the bundle is no longer `wanted`."""
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
    """Why this home's search service cannot use an index of an epoch. Empty if an index answers."""
    if any(epoch_of(url) == epoch for url in every_indexer(process.home, configured)):
        return ""
    return (
        f"no indexer of epoch {epoch} answers this search service; start one with `groknet run all` in the home of the "
        "bundle or with `groknet run indexer --beside --bundle DIR`, and add it to search.indexer_urls"
    )


def _detector(loaded: Loaded, stack: ExitStack) -> Detector | None:
    detector = open_detector(loaded)
    if detector is not None:
        stack.callback(detector.close)
    return detector


def _engine(loaded: Loaded, stack: ExitStack) -> RecognitionEngine:
    engine = open_engine(loaded)
    stack.callback(engine.close)
    return engine


@dataclass(frozen=True, slots=True)
class _Ports:
    """The TCP port that a worker must take (`fixed`; 0: any free one), or the one that it should take (`preferred`).
    Both are those of the first tagger of a home; each further tagger takes the next one."""

    fixed: int
    preferred: int = 0

    @classmethod
    def of(cls, loaded: Loaded, section: Literal["tagger", "indexer", "products"], option: int | None) -> _Ports:
        """The option of the command line, otherwise the configured port, otherwise the default, which is preferred."""
        fixed = loaded.configured_port(section) if option is None else option
        return cls(0, getattr(loaded.config, section).port) if fixed is None else cls(fixed)


def _serve(process: Process, stack: ExitStack, app: ASGIApp, host: str, ports: _Ports, *, limits: HttpLimits) -> Server:
    """Serve `app` over HTTP and announce the worker. Raises ConfigError, with the name of the other process, if a port
    that it must take is taken."""
    if ports.fixed:
        server = _serve_at(process, app, host, ports.fixed, limits)
    else:
        server = _serve_somewhere(process, app, host, ports, limits)
    stack.callback(server.stop)
    process.announce(server.host, server.port)
    return server


def _serve_somewhere(process: Process, app: ASGIApp, host: str, ports: _Ports, limits: HttpLimits) -> Server:
    """Serve on the port that this worker had last, else on the preferred one, else on any free one."""
    preferred = ports.preferred and ports.preferred + process.slot
    *wanted, any_free = port_candidates(process.home, process.name, preferred if preferred <= _LAST_PORT else 0)
    for port in wanted:
        try:
            server = serve(app, host, port, limits)
        except PortTaken:
            _log.warning("port %d is taken by %s; trying another", port, holder_of(process.home, host, port))
            continue
        remember_port(process.home, process.name, port)
        return server
    server = serve(app, host, any_free, limits)
    remember_port(process.home, process.name, server.port)
    return server


def _serve_at(process: Process, app: ASGIApp, host: str, base: int, limits: HttpLimits) -> Server:
    port = base + process.slot
    if port > _LAST_PORT:
        raise ConfigError(f"{process.name}: port {port} is above {_LAST_PORT}; lower {process.worker}.port or --port")
    try:
        return serve(app, host, port, limits)
    except PortTaken as taken:
        count = f", {process.worker}.port + {process.slot}," if process.slot else ""
        text = f"{process.name}: port {port}{count} on {host} is taken by {holder_of(process.home, host, port)}"
        remedy = f"stop that, or choose another with --port or {process.worker}.port (0: any free one)"
        raise ConfigError(f"{text}; {remedy}") from taken
