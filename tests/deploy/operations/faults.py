"""`python -m tests.deploy.operations.faults [--out FILE]`: the faults that take too long for a test.

Each fault is injected into live workers that a real Prometheus watches, stays until its alerts fire, and is taken back.
The table says how long each alert took to fire and to resolve. Windows and `for` are 60 times shorter than in
rules.yaml. It takes about fifteen minutes, because the longest window that an alert waits for is six hours.
"""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from tests.deploy.operations import inject
from tests.deploy.operations.prometheus import Prometheus, until
from tests.deploy.operations.watched import Watched, watching

FIRES_S, RESOLVES_S = 240.0, 600.0
Block = Callable[[], AbstractContextManager[None]]


class Timeline:
    """Notes in a thread when alerts begin and cease to fire, because some resolve while later faults are injected."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.fired: dict[str, list[float]] = {}
        self.resolved: dict[str, list[float]] = {}
        self.now: set[str] = set()

    def __enter__(self) -> Timeline:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.3):
            now = self._prometheus.firing()
            for name in now - self.now:
                self.fired.setdefault(name, []).append(time.monotonic())
            for name in self.now - now:
                self.resolved.setdefault(name, []).append(time.monotonic())
            self.now = now

    def first(self, of: dict[str, list[float]], name: str, since: float) -> float | None:
        """Seconds from `since` to the first time after it, or None."""
        return next((at - since for at in of.get(name, []) if at >= since), None)


class Table:
    """Injects faults, and collects the rows."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.timeline = Timeline(watched.prometheus)
        self._ended: list[tuple[str, str, float, float]] = []

    def inject(self, fault: str, alerts: list[str], block: Block) -> None:
        """Hold the context `block()` until each alert has fired. It may resolve while the next fault is injected."""
        timeline = self.timeline
        until(lambda: not timeline.now & set(alerts), f"{alerts} to be quiet", RESOLVES_S)
        print(f"{fault} …", file=sys.stderr, flush=True)
        began = time.monotonic()
        with block():
            waits = lambda: [one for one in alerts if timeline.first(timeline.fired, one, began) is None]  # noqa: E731
            try:
                until(lambda: not waits(), fault, FIRES_S)
            except AssertionError:
                print(f"  never fired: {waits()}", file=sys.stderr, flush=True)
            ended = time.monotonic()
        for one in alerts:
            seconds = timeline.first(timeline.fired, one, began)
            if seconds is not None:
                self._ended.append((fault, one, seconds, ended))
                print(f"  {one} fired after {seconds:.1f} s", file=sys.stderr, flush=True)

    def settle(self) -> None:
        """Wait until every alert has resolved once after its fault ended."""
        timeline = self.timeline

        def left() -> list[str]:
            after = ((alert, ended) for _, alert, _, ended in self._ended)
            return [
                one for one, at in after if one in timeline.now and timeline.first(timeline.resolved, one, at) is None
            ]

        try:
            until(lambda: not left(), "every alert to resolve", RESOLVES_S)
        except AssertionError:
            print(f"  did not resolve: {left()}", file=sys.stderr, flush=True)

    def rows(self) -> list[str]:
        """The lines of the table."""
        made = []
        for fault, alert, seconds, ended in self._ended:
            resolved = self.timeline.first(self.timeline.resolved, alert, ended)
            if resolved is not None or alert not in self.timeline.now:
                made.append(f"| {fault} | {alert} | {seconds:.1f} | {resolved or 0.0:.1f} |")
        return made


def run(folder: Path, only: Sequence[str]) -> list[str]:
    """Inject every fault whose name contains one of `only`, and return the lines of the table."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        second = free.getsockname()[1]
    with watching(folder, more_targets=[f"http://127.0.0.1:{second}/targets"], uploads_a_s=8) as watched:
        table = Table(watched)
        with table.timeline:
            for fault, alerts, block in faults(watched, folder, second):
                if any(text in fault for text in only):
                    table.inject(fault, alerts, block)
                    print("\n".join(table.rows()), file=sys.stderr, flush=True)
            table.settle()
            print("\n".join(table.rows()), file=sys.stderr, flush=True)
            return table.rows()


def faults(watched: Watched, folder: Path, second: int) -> list[tuple[str, list[str], Block]]:
    """Every fault with its alerts. The first ones have the longest windows, so they need windows without other faults;
    those that delay uploads come last."""
    home, cluster, load = watched.cluster.home, watched.cluster, watched.load
    return [
        (
            "uploads and searches are of other photos, all blue or all red",
            ["GroknetPredictionsDrift", "GroknetNothingApplies", "GroknetNoCloseNeighbour"],
            lambda: inject.other_photos(load),
        ),
        (
            "tagger and indexer stand still for 10 of 13 s",
            [
                "GroknetFreshnessBurnSteady",
                "GroknetFreshnessBurnSlow",
                "GroknetSearchBurnSteady",
                "GroknetSearchBurnSlow",
            ],
            lambda: inject.still(cluster, ["tagger", "indexer"]),
        ),
        ("the indexer may open only a few files more", ["GroknetFilesNearLimit"], lambda: inject.few_files(cluster)),
        ("an engine that divides by zero at a black photo", ["GroknetEngineFails"], lambda: inject.black(load)),
        (
            "consumers join and leave the group",
            ["GroknetRebalancesOften"],
            lambda: inject.joining(home),
        ),
        (
            "workers of another home have a model of another epoch",
            ["GroknetModelsMixed"],
            lambda: inject.second_home(folder, second),
        ),
        (
            "the indexer of a second epoch is stopped",
            ["GroknetIndexOfOtherEpoch"],
            lambda: inject.second_home(folder, second, without_indexer=True),
        ),
        ("the store is locked for 1.5 of 1.7 s", ["GroknetStoreWritesSlow"], lambda: inject.slow_store(home)),
        (
            "the dead-letter topic takes nothing, and 8,000 removals follow in the partition",
            ["GroknetUndelivered", "GroknetCommitsBlocked"],
            lambda: inject.no_dead_letters(watched),
        ),
        (
            "the stream cannot be read",
            ["GroknetIndexStale", "GroknetProductsStale", "GroknetSearchFollowsLate"],
            lambda: inject.unreadable(home),
        ),
        (
            "12-megapixel photos, faster than they are decoded",
            ["GroknetBatchesUnderfilled"],
            lambda: inject.large_photos(load),
        ),
        ("the tagger's configuration becomes wrong", ["GroknetWorkerGaveUp"], lambda: inject.wrong_config(cluster)),
    ]


def main() -> None:
    """Print the table, or write it to a file."""
    parser = argparse.ArgumentParser(prog="python -m tests.deploy.operations.faults", description=__doc__)
    parser.add_argument("--out", type=Path, help="write the table here instead of printing it")
    parser.add_argument(
        "--only", nargs="+", default=[""], help="only the faults whose name contains one of these texts"
    )
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # the last tagger ends after it
        rows = run(Path(folder), chosen.only)
        head = "| fault | alert | fired after s | resolved after s |\n|---|---|---|---|\n"
        text = head + "\n".join(rows) + "\n"
        if chosen.out:
            chosen.out.write_text(text, encoding="utf-8")
        else:
            print(text, end="")


if __name__ == "__main__":
    main()
