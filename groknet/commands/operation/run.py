"""`groknet run`: run one worker, or all of them under a supervisor."""

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
from groknet.cli.terminal import note, progress
from groknet.home.config import Loaded, load_config
from groknet.home.epochs import Epochs, beside_name, find_bundle, in_force
from groknet.home.hidden_heads import check_start
from groknet.home.paths import find_home
from groknet.home.running import (
    SUPERVISOR,
    Lock,
    Running,
    forget_port,
    forget_running,
    usual_port,
    write_running,
)
from groknet.home.taggers import MOST
from groknet.run.fastest import AUTO, choose
from groknet.run.open_back_ends import open_store
from groknet.run.presence import Watch
from groknet.run.supervisor import Spec, Supervisor
from groknet.run.targets import serve_targets
from schemas.errors import BundleRefused, Transient
from schemas.manifest import load_manifest
from workers.http.serving import Server
from workers.stores import build_store

PortOption = Annotated[
    int | None, Parameter(name="--port", help="HTTP port; 0 means any free port. Default: the configured port.")
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
            help="Port of the first tagger of the home. Each further tagger uses the next one; 0 means any free port. "
            "Default: tagger.port.",
        ),
    ] = None,
    slot: Annotated[
        int | None,
        Parameter(
            name="--slot",
            help="Which tagger of the home to run; 0 is the first. Default: the first that does not run.",
            validator=validators.Number(gte=0, lt=MOST),
        ),
    ] = None,
) -> Exit:
    """Run one tagger, which reads listing events and writes predictions and hashes.

    Run the command several times to have several taggers in one home; they share the events. They are called tagger,
    tagger-2, tagger-3 and so on. Each takes the first free name and announces itself in HOME/run/NAME.json. The first
    one serves health and metrics on tagger.port, and each further one uses the next port. If tagger.port is 0, each
    uses any free port.

    A tagger waits for the stream and the store when they are not up yet. Its log and /readyz say so.
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
        bool, Parameter(negative=(), help="Run a further indexer in this home, for the epoch of --bundle.")
    ] = False,
) -> Exit:
    """Run one indexer, which reads hashes and answers nearest-neighbour queries over HTTP, on loopback by default.

    To spread an index over several indexers, give each a home of its own and a part of the topic, by
    indexer.partitions.
    """
    from groknet.run.compose import run_indexer

    run_indexer(load_config(find_home(home).make(), bundle=bundle), port, beside=beside)
    return Exit.OK


def search(*, home: HomeOption = None, bundle: BundleOption = None, port: PortOption = None) -> Exit:
    """Run the search service and its web page. It asks the indexers in search.indexer_urls, or those of this home."""
    from groknet.run.compose import run_search

    run_search(load_config(find_home(home).make(), bundle=bundle), port)
    return Exit.OK


def products(*, home: HomeOption = None, bundle: BundleOption = None, port: PortOption = None) -> Exit:
    """Run the products worker, which finds listings of one product by near copies of their photos.

    It writes the id of each listing's product to the store and to the topic listings.products. Run it in one home of a
    store only. `groknet run all` runs it if products.enabled is true.
    """
    from groknet.run.compose import run_products

    run_products(load_config(find_home(home).make(), bundle=bundle), port)
    return Exit.OK


def run_all(
    *,
    home: HomeOption = None,
    bundle: BundleOption = None,
    port: PortOption = None,
    taggers: Annotated[
        int,
        Parameter(
            help="Number of taggers, which share the events: tagger, tagger-2 and so on.",
            validator=validators.Number(gte=1, lte=MOST),
        ),
    ] = 1,
) -> Exit:
    """Run taggers, indexer and search, one process each, until SIGTERM or Ctrl-C. --port is that of the search page.
    If products.enabled is true, the products worker runs as well.

    A worker that crashes is started again. While the stream or the store does not answer, the workers wait. A tagger is
    not started again when its configuration is wrong, or when most of its events become dead letters. One line on
    stderr says so, and search and indexer go on. Start that tagger with `groknet run tagger` once you have solved the
    problem.

    A line on stderr names the target list for Prometheus (targets.port), which has every worker of this home.

    After SIGTERM the workers finish what they have begun, and the exit code is 0. A second SIGTERM kills them, and the
    exit code is 1. Logs are in HOME/logs. Process ids and ports are in HOME/run/<worker>.json.
    """
    place = find_home(home).make()
    stops = _count_signals()
    loaded = _when_the_store_answers(load_config(place, bundle=bundle), stops)
    load_bundle(loaded.config.engine.bundle)
    check_start(loaded)
    _choose_engine(loaded)
    watch = Watch(lambda: build_store(loaded.config.store.url), owned=True)
    lock = Lock(place, SUPERVISOR)
    supervisor = Supervisor(place, specs(loaded, port, taggers), note)
    _forget_ports(loaded, supervisor)
    page = page_url(loaded, supervisor)
    orderly = False
    targets: Server | None = None
    try:
        targets = serve_targets(loaded, supervisor)
        note(f"targets for Prometheus: {targets.url}/targets")
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
        if targets is not None:
            targets.stop()
        orderly = supervisor.stop(STOP_BUDGET_S, lambda: len(stops) > 1)
        forget_running(place, SUPERVISOR)
        lock.release()
    note("all workers have stopped" if orderly else "stopped, but not every worker in order; see the logs")
    return Exit.OK if orderly else Exit.FAILED


def _choose_engine(loaded: Loaded) -> None:
    """With `engine.backend = "auto"`, measure before the workers start, with a bar on a terminal, and say what it took.
    Nothing is measured if that was done before."""
    if loaded.config.engine.backend != AUTO:
        return
    with progress() as bar:
        task = bar.add_task("comparing engines", total=1.0)
        choice = choose(
            loaded,
            Path(loaded.config.engine.bundle),
            lambda share, what: bar.update(task, completed=share, description=what),
        )
    note(f"engine: {choice.reason}")


def _forget_ports(loaded: Loaded, supervisor: Supervisor) -> None:
    """Let the workers begin with their default ports. Within one run, a worker that is started again keeps its port."""
    for child in supervisor.children:
        worker = child.spec.worker
        if worker != "search" and loaded.configured_port(worker) is None:
            forget_port(loaded.home, child.spec.name)


def _who_is_ready(supervisor: Supervisor) -> str:
    missing = list(supervisor.gave_up)
    if not missing:
        return "all workers are ready"
    taggers = [child for child in supervisor.children if child.spec.worker == "tagger"]
    lost = [name for name in missing if name != "products"]
    losses = ["products stay as they are until it runs"] if "products" in missing else []
    if lost:
        losses.append(
            "nothing new is tagged until one runs" if len(lost) == len(taggers) else "the other taggers do its work"
        )
    loss = "; ".join(losses)
    return f"ready, but without {', '.join(missing)} (not started again, see above): {loss}"


def _count_signals() -> list[int]:
    """Collect SIGTERM and SIGINT from now on, in the order in which they arrive."""
    came: list[int] = []

    def on_signal(number: int, _: FrameType | None) -> None:
        came.append(number)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return came


def specs(loaded: Loaded, port: int | None, taggers: int = 1) -> list[Spec]:
    """The workers of a home. The port of the page is chosen here, so that it is known before the page answers."""
    config, root = loaded.config, str(loaded.home.root)
    common = ["--home", root]
    bundle = ["--bundle", config.engine.bundle]
    fixed = [] if loaded.follows else bundle  # the others follow the epoch in force
    page = usual_port(loaded.home, "search", config.search.host, config.search.port if port is None else port)
    return [
        *(Spec("tagger", ["run", "tagger", *common, *fixed, "--slot", str(k)], slot=k) for k in range(taggers)),
        Spec("indexer", ["run", "indexer", *common, *bundle]),
        Spec("search", ["run", "search", *common, *fixed, "--port", str(page)]),
        *([Spec("products", ["run", "products", *common, *fixed])] if config.products.enabled else []),
    ]


def beside_specs(loaded: Loaded, epochs: Epochs) -> list[Spec]:
    """One indexer for each known epoch whose bundle this home has. The home's own indexer has the epoch of its own
    bundle, so that one is left out."""
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
    """Wait until the store says which epoch is in force, and return the configuration with its bundle. Return early,
    unchanged, after a signal."""
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
    """The address of the search page, whether it answers yet or not."""
    arguments = next(c.spec.arguments for c in supervisor.children if c.spec.worker == "search")
    return Running(pid=os.getpid(), host=loaded.config.search.host, port=int(arguments[-1]))
