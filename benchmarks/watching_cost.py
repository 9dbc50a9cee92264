"""What metrics and traces cost an event: `python -m benchmarks.watching_cost --json`.

A tagger on the embedded stream and store, with the engine of fixed cost of `benchmarks.stream_path`, tags events with
one small inline photo. A round runs it in one of four ways: `bare` (metrics do nothing, except for the counter of
events, by which the round is timed), `metrics` (as shipped, traces off), `traces` (every listing is followed) and
`sampled` (one listing of a hundred is). Two ways that are compared take turns, and each starts every second pair. A
collector in a process of its own takes the traces. The figures are processor time of the tagger's process: the median
of the ratios with a one-sided 95 % bound by bootstrap over the pairs, and the median of the differences in microseconds
an event.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

from prometheus_client import Counter, Gauge, Histogram

from benchmarks.report import parser, write_result
from benchmarks.servers import make_topics
from benchmarks.stream_pairs import lower_bound
from benchmarks.stream_path import Bench, FixedCost, listing_keys, photo_bytes
from engines.recognition import build_engine
from schemas.topics import UPLOADED
from workers import metrics, tracing
from workers.collector import spare_collector
from workers.stores import build_store
from workers.streams import build_stream
from workers.tagger import TaggerSettings

SETTINGS = TaggerSettings(max_in_flight_events=128, prepare_threads=2, batch_size=32)
COMPARED = {"metrics": ("bare", "metrics"), "traces": ("metrics", "traces"), "traces_1_percent": ("metrics", "sampled")}
"""What is paid for, and the two ways that are compared: without it, then with it."""


@contextmanager
def without_metrics() -> Iterator[None]:
    """Let every metric do nothing, except for the counter of events."""
    count = Counter.inc

    def inc(self: Counter, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        if self._name == metrics.EVENTS._name:
            count(self, amount, exemplar)

    def nothing(*_: object, **__: object) -> None:
        return None

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(Counter, "inc", inc))
        stack.enter_context(mock.patch.object(Histogram, "observe", nothing))
        for name in ("set", "inc", "dec"):
            stack.enter_context(mock.patch.object(Gauge, name, nothing))
        yield


@contextmanager
def traced(url: str, share: float) -> Iterator[None]:
    """Follow this share of listings."""
    end = tracing.begin(tracing.TracingSettings(url=url, share=share), "tagger")
    try:
        yield
    finally:
        end()


@contextmanager
def collector() -> Iterator[str]:
    """A process that takes OTLP over HTTP and keeps nothing. Gives its address."""
    process = subprocess.Popen([sys.executable, "-m", __spec__.name, "--collect"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def collect() -> None:
    """The body of that process."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


def figures(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    """From the seconds an event without it and with it: the ratio (1.05: 5 % more), its bound, and the difference."""
    ratios = [with_it / without for without, with_it in pairs]
    return {
        "ratio": round(statistics.median(ratios), 3),
        "at_most_95": round(-lower_bound([-ratio for ratio in ratios]), 3),
        "us_an_event": round(statistics.median((b - a) * 1e6 for a, b in pairs), 1),
        "us_an_event_without": round(statistics.median(a * 1e6 for a, _ in pairs), 1),
        "pairs": len(pairs),
    }


def measure(bundle: Path, events: int, pairs: int, folder: Path, url: str) -> dict[str, Any]:
    """Run all pairs, and return the figures of each comparison."""
    stream, store = build_stream(f"sqlite:///{folder}/stream.db", "bench"), build_store(f"sqlite:///{folder}/store.db")
    engine, photo = FixedCost(build_engine(bundle)), photo_bytes()
    make_topics(stream, engine.manifest.epoch)
    bench = Bench(None, stream, store, None, engine, folder)
    ways: dict[str, Callable[[], Any]] = {
        "bare": without_metrics,
        "metrics": ExitStack,
        "traces": lambda: traced(url, 1.0),
        "sampled": lambda: traced(url, 0.01),
    }
    number = 0

    def cost(way: str) -> float:
        nonlocal number
        number += 1
        bench.send(UPLOADED, listing_keys(f"round-{number}", events), photo)
        with ways[way]():
            return bench.tag(SETTINGS).cpu_s

    for way in ways:  # not counted
        cost(way)
    spare_collector()
    found = {}
    for what, (without, with_it) in COMPARED.items():
        costs = []
        for pair in range(pairs):
            first = cost(with_it) if pair % 2 else cost(without)
            second = cost(without) if pair % 2 else cost(with_it)
            costs.append((second, first) if pair % 2 else (first, second))
            sys.stderr.write(f"{what}, pair {pair + 1} of {pairs}: {costs[-1][1] / costs[-1][0]:.3f}\n")
        found[what] = figures(costs)
    store.close()
    return found


def main() -> None:
    """Parse, measure, print."""
    options = parser(__doc__, tells="result", bundle=True)
    options.add_argument("--pairs", type=int, default=15, help="of each comparison (default 15)")
    options.add_argument("--events", type=int, default=900, help="events a round (default 900)")
    options.add_argument("--collect", action="store_true", help="be the collector (the benchmark starts it)")
    arguments = options.parse_args()
    if arguments.collect:
        collect()
        return
    with tempfile.TemporaryDirectory() as folder, collector() as url:
        result = measure(arguments.bundle, arguments.events, arguments.pairs, Path(folder), url)
    write_result(result, arguments.json)


if __name__ == "__main__":
    main()
