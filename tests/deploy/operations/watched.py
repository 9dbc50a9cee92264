"""Live workers under load with a real Prometheus that watches them, for tests and for the command of faults."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from onnx import numpy_helper

from engines.pixels import decode
from engines.recognition import build_engine
from engines.recognition.drift import baseline_of
from schemas.baseline import write_baseline
from schemas.manifest import load_manifest
from tests.deploy.operations.load import Load, jpeg
from tests.deploy.operations.prometheus import Prometheus, until
from tests.engines.tiny_bundle import applying_graph, write_applying_bundle, write_tiny_bundle
from tests.groknet.conftest import Cluster, start_all

SCALE = 60
PATIENCE_S = 120.0
CONFIG = (
    '[targets]\nport = 0\n[intake]\nallowed_private = ["127.0.0.1:9"]\n'
    "[tagger]\nwatch_interval_s = 0.5\n[indexer]\nport = 0\nstale_after_s = 10.0\n[search]\nindexer_timeout_s = 1.0\n"
    "[products]\nenabled = true\nport = 0\nstale_after_s = 10.0\n"
)


class Watched:
    """Workers of a home, a load on them, and the Prometheus that watches them."""

    def __init__(self, cluster: Cluster, load: Load, prometheus: Prometheus, epoch: str) -> None:
        self.cluster, self.load, self.prometheus, self.epoch = cluster, load, prometheus, epoch
        self.rows: list[str] = []

    def see(self, fault: str, alerts: list[str], inject: Callable[[], None], end: Callable[[], None]) -> None:
        """Inject a fault, wait until each alert fires, end it, wait until each resolves, and note the seconds."""
        firing = self.prometheus.firing
        until(lambda: not firing() & set(alerts), f"{alerts} to be quiet before the fault", PATIENCE_S)
        fired: dict[str, float] = {}
        began = time.monotonic()
        inject()
        try:
            self._note(alerts, fired, began, lambda: firing() & set(alerts), f"firing because {fault}")
        finally:
            end()
        resolved: dict[str, float] = {}
        began = time.monotonic()
        self._note(alerts, resolved, began, lambda: set(alerts) - firing(), f"resolved after {fault}")
        self.rows += [f"| {fault} | {one} | {fired[one]:.1f} | {resolved[one]:.1f} |" for one in alerts]

    def _note(
        self, alerts: list[str], seconds: dict[str, float], began: float, done: Callable[[], set[str]], what: str
    ) -> None:
        """Note when each alert is first in `done()`."""

        def all_done() -> bool:
            for name in done():
                seconds.setdefault(name, time.monotonic() - began)
            return seconds.keys() >= set(alerts)

        try:
            until(all_done, what, PATIENCE_S)
        except AssertionError as error:
            raise AssertionError(f"{set(alerts) - seconds.keys()} {error}") from None


def write_bundle_with_baseline(folder: Path) -> None:
    """A tiny bundle whose baseline is of the photos that the load uploads. Both of its domains are the first one, so
    that nothing applies to a photo that is not of it."""
    graph = applying_graph()
    for one in graph.graph.initializer:
        if one.name in ("to_domains", "domain_bias"):
            values = numpy_helper.to_array(one).copy()
            values[..., 1] = values[..., 0]
            one.CopyFrom(numpy_helper.from_array(values, one.name))
    heads_and_domains = write_applying_bundle(folder)
    manifest = write_tiny_bundle(
        folder, graph, heads=heads_and_domains.heads, applicability=heads_and_domains.applicability
    )
    engine = build_engine(folder)
    photos = [decode(jpeg(seed), manifest.preprocess) for seed in range(engine.max_batch)]
    write_baseline(folder, baseline_of(manifest, {"load": engine.infer(np.stack(photos))}))
    engine.close()


def wait_until_ready(cluster: Cluster, tries: int = 4) -> None:
    """Wait for all workers, several times as long as a test does: the command runs on busy machines as well."""
    for _ in range(tries - 1):
        with suppress(pytest.fail.Exception):
            cluster.wait_for("all workers are ready")
            return
    cluster.wait_for("all workers are ready")


@contextmanager
def watching(folder: Path, *, more_targets: Sequence[str] = (), uploads_a_s: float = 4) -> Iterator[Watched]:
    """Run all workers of a home in `folder`, load them, and watch them. `more_targets` are further target lists."""
    home, bundle = folder / "home", folder / "bundle"
    home.mkdir()
    write_bundle_with_baseline(bundle)
    (home / "groknet.toml").write_text(CONFIG)
    cluster = start_all(home, bundle)
    try:
        wait_until_ready(cluster)
        url = next(line.split("Prometheus: ")[1] for line in cluster.said if "targets for Prometheus: " in line)
        port = json.loads((home / "run" / "search.json").read_text())["port"]
        epoch = load_manifest(bundle).epoch
        with Load(home, port, uploads_a_s) as load, Prometheus(folder, [url, *more_targets], SCALE) as prometheus:
            every = {"supervisor", "tagger", "indexer", "search", "products"}
            until(lambda: prometheus.healthy_targets() >= every, "every target to be up", PATIENCE_S)
            yield Watched(cluster, load, prometheus, epoch)
    finally:
        cluster.stop()


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Nobody else can write to an SQLite file: the store, or the stream, is away."""
    connection = sqlite3.connect(database, timeout=60, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


def tagger_of(cluster: Cluster) -> psutil.Process | None:
    for child in psutil.Process(cluster.process.pid).children():
        with suppress(psutil.Error):
            if "tagger" in child.cmdline():
                return child
    return None
