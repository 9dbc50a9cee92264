"""`groknet run`: the workers, one by one or all supervised."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated

from cyclopts import Parameter, validators

from engines.recognition import load_bundle
from groknet.cli.exits import Exit
from groknet.cli.options import BundleOption, HomeOption
from groknet.cli.terminal import note
from groknet.home.config import Loaded, load_config
from groknet.home.epochs import Epochs, beside_name, find_bundle, in_force
from groknet.home.paths import find_home
from groknet.home.running import SUPERVISOR, Lock, Running, forget_running, usual_port, write_running
from groknet.home.taggers import MOST
from groknet.run.open_back_ends import open_store
from groknet.run.presence import Watch
from groknet.run.supervisor import Spec, Supervisor
from schemas.errors import BundleRefused, Transient
from schemas.manifest import load_manifest
from workers.stores import build_store

PortOption = Annotated[
    int | None, Parameter(name="--port", help="HTTP port, 0: any free one; else the configured one.")
]
_TICK_S = 0.05
_LOOK_S = 1.0  # between two looks for an epoch that a back-fill has added
STOP_BUDGET_S = 30.0  # the workers' own budgets, 25 s and a margin of 5 s, after which they end themselves


def tagger(
    *,
    home: HomeOption = None,
    bundle: BundleOption = None,
    port: Annotated[
        int | None,
        Parameter(
            name="--port",
            help="Port of the home's first tagger, the next ones count up from it; 0: any free one; else tagger.port.",
        ),
    ] = None,
    slot: Annotated[
        int | None,
        Parameter(
            name="--slot",
            help="Be this tagger of the home, 0 is the first; else the first that is not running.",
            validator=validators.Number(gte=0, lt=MOST),
        ),
    ] = None,
) -> Exit:
    """Run one tagger: listing events in, predictions and hashes out; any number of times in one home.

    The first one is called tagger, then come tagger-2, tagger-3 and so on: each takes the first name that is free,
    and announces itself in HOME/run/NAME.json. They share the events. Health and metrics are on tagger.port for the
    first, one port higher for each that follows, or on any free port where that is 0.

    Stream and store may still be starting: a tagger waits for them, and says so in its log and at /readyz.
    """
    from groknet.run.compose import run_tagger

    run_tagger(load_config(find_home(home).make(), bundle=bundle), port, slot)
    return Exit.OK


def indexer(
    *,
    home: HomeOption = None,
    bundle: BundleOption = None,
    port: PortOption = None,
    beside: Annotated[
        bool, Parameter(negative=(), help="Run beside the home's indexer, for the epoch of another --bundle.")
    ] = False,
) -> Exit:
    """Run one indexer: hashes in, nearest hashes out, over HTTP on loopback.

    `indexer.partitions` gives it a part of the topic; several, each with a home of its own, hold an index together.
    """
    from groknet.run.compose import run_indexer

    run_indexer(load_config(find_home(home).make(), bundle=bundle), port, beside=beside)
    return Exit.OK


def search(*, home: HomeOption = None, bundle: BundleOption = None, port: PortOption = None) -> Exit:
    """Run the search service and its page; it asks the indexers of search.indexer_urls, else this home's."""
    from groknet.run.compose import run_search

    run_search(load_config(find_home(home).make(), bundle=bundle), port)
    return Exit.OK


def run_all(
    *,
    home: HomeOption = None,
    bundle: BundleOption = None,
    port: PortOption = None,
    taggers: Annotated[
        int,
        Parameter(
            help="Taggers to run: tagger, tagger-2 and so on; they share the events.",
            validator=validators.Number(gte=1, lte=MOST),
        ),
    ] = 1,
) -> Exit:
    """Run taggers, indexer and search, one process each, until SIGTERM or Ctrl-C; --port is the search page's.

    A worker that crashes is started again. While stream or store do not answer, the workers wait for them. A tagger
    whose configuration is wrong, or most of whose events become dead letters, is not started again: that is said in
    one line, and search and indexer go on without it; start it by `groknet run tagger` once the cause is mended.

    SIGTERM drains all of them and exits 0; a second one ends them hard and exits 1. Logs are in HOME/logs, processes
    and ports in HOME/run/<worker>.json.
    """
    place = find_home(home).make()
    stops = _count_signals()
    loaded = _when_the_store_answers(load_config(place, bundle=bundle), stops)
    load_bundle(loaded.config.engine.bundle)
    watch = Watch(lambda: build_store(loaded.config.store.url), owned=True)
    lock = Lock(place, SUPERVISOR)
    supervisor = Supervisor(place, specs(loaded, port, taggers), note)
    page = page_url(loaded, supervisor)
    orderly = False
    try:
        write_running(place, SUPERVISOR, Running(pid=os.getpid(), host=page.host, port=page.port))
        told = False
        look = 0.0
        if loaded.follows:
            watch.start()
        while not stops:
            if watch.epochs is not None and time.monotonic() >= look:
                supervisor.beside(beside_specs(loaded, watch.epochs))
                look = time.monotonic() + _LOOK_S
            supervisor.tick()
            if supervisor.settled and not told:
                told = True
                note(f"{_who_is_ready(supervisor)}; search page: {page.url}")
            time.sleep(_TICK_S)
        note("draining; a second signal ends the workers at once")
    finally:
        watch.close()
        orderly = supervisor.stop(STOP_BUDGET_S, lambda: len(stops) > 1)
        forget_running(place, SUPERVISOR)
        lock.release()
    note("all workers have stopped" if orderly else "stopped, but not every worker in order; see the logs")
    return Exit.OK if orderly else Exit.FAILED


def _who_is_ready(supervisor: Supervisor) -> str:
    missing = list(supervisor.gave_up)
    if not missing:
        return "all workers are ready"
    taggers = [child for child in supervisor.children if child.spec.worker == "tagger"]
    loss = "nothing new is tagged until one runs" if len(missing) == len(taggers) else "the other taggers do its work"
    return f"ready, but without {', '.join(missing)} (not started again, see above): {loss}"


def _count_signals() -> list[int]:
    """SIGTERM and SIGINT from now on, in the order of their coming."""
    came: list[int] = []

    def on_signal(number: int, _: FrameType | None) -> None:
        came.append(number)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return came


def specs(loaded: Loaded, port: int | None, taggers: int = 1) -> list[Spec]:
    """The workers of a home; the page's port is chosen here, so that it can be told before it answers."""
    config, root = loaded.config, str(loaded.home.root)
    common = ["--home", root]
    bundle = ["--bundle", config.engine.bundle]
    fixed = [] if loaded.follows else bundle  # the others change over with the home's epoch
    page = usual_port(loaded.home, "search", config.search.host, config.search.port if port is None else port)
    return [
        *(Spec("tagger", ["run", "tagger", *common, *fixed, "--slot", str(k)], slot=k) for k in range(taggers)),
        Spec("indexer", ["run", "indexer", *common, *bundle]),
        Spec("search", ["run", "search", *common, *fixed, "--port", str(page)]),
    ]


def beside_specs(loaded: Loaded, epochs: Epochs) -> list[Spec]:
    """An indexer for each known epoch whose bundle this home has, but that of its own bundle, which the home's indexer
    holds."""
    own = load_manifest(Path(loaded.config.engine.bundle)).epoch
    found: list[Spec] = []
    for epoch in epochs.bundles:
        if epoch != own:
            with suppress(BundleRefused):  # the search service says why it cannot change over to it
                path = str(find_bundle(loaded, epochs, epoch))
                arguments = ["run", "indexer", "--home", str(loaded.home.root), "--bundle", path, "--beside"]
                found.append(Spec("indexer", arguments, beside_name(epoch)))
    return found


def _when_the_store_answers(loaded: Loaded, stops: list[int]) -> Loaded:
    """With the bundle of the epoch in force, once the store has told which that is, or a signal has come."""
    told = False
    while loaded.follows and not stops:
        try:
            with open_store(loaded) as store:
                return in_force(loaded, store)
        except Transient as error:
            if not told:
                note(f"waiting for the store, to learn which epoch is in force: {error}")
                told = True
            time.sleep(_LOOK_S)
    return loaded


def page_url(loaded: Loaded, supervisor: Supervisor) -> Running:
    """Where the search page is, or will be."""
    arguments = next(c.spec.arguments for c in supervisor.children if c.spec.worker == "search")
    return Running(pid=os.getpid(), host=loaded.config.search.host, port=int(arguments[-1]))
