"""What metrics and traces cost an event: `python -m benchmarks.stream.watching_cost --json`.

One thread takes events with one small inline photo through the stages of a tagger: decode, the engine of fixed cost of
`benchmarks.stream.stream_path`, and settle on the embedded stream and store. It does so in four ways: `bare` (metrics
do nothing), `metrics` (as shipped, traces off), `traces` (every listing is followed) and `sampled` (one of a hundred
is). Two ways that are compared take turns with a chunk of events each, and each starts every second pair. Short chunks
keep the comparison fair on a busy machine. A collector in a process of its own takes the traces, and a chunk ends when
its spans are sent. The figures are processor time of this process: the median of the ratios with a one-sided 95 % bound
by bootstrap over the pairs, and the median of the differences in microseconds an event.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

from prometheus_client import Counter, Gauge, Histogram

from benchmarks.report import parser, write_result
from benchmarks.servers import make_topics
from benchmarks.stream.stream_path import BATCH, FIRST_US, FixedCost, photo_bytes
from benchmarks.stream_pairs import lower_bound
from engines.recognition import build_engine
from schemas.events import ImageRef, ListingEvent, decode_event, encode_event
from schemas.predictions import ImageRow
from schemas.topics import UPLOADED
from workers import tracing
from workers.collector import spare_collector
from workers.http.serving import Health
from workers.intake import Intake, IntakeSettings
from workers.stages.infer import Infer
from workers.stages.job import Job
from workers.stages.prepare import EventPreparer, PrepareInThread
from workers.stages.settle import Effects
from workers.stores import build_store
from workers.streams import build_stream
from workers.streams.base import Partition, Record
from workers.tracing_spans import Spans
from workers.watching import metrics

COMPARED = {"metrics": ("bare", "metrics"), "traces": ("metrics", "traces"), "traces_1_percent": ("metrics", "sampled")}
"""What is paid for, and the two ways that are compared: without it, then with it."""


@contextmanager
def without_metrics() -> Iterator[None]:
    """Let every metric do nothing."""

    def nothing(*_: object, **__: object) -> None:
        return None

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(Histogram, "observe", nothing))
        for kind, name in ((Counter, "inc"), (Gauge, "set"), (Gauge, "inc"), (Gauge, "dec")):
            stack.enter_context(mock.patch.object(kind, name, nothing))
        yield


@contextmanager
def traced(spans: Spans) -> Iterator[None]:
    """Follow listings, and send the spans before the block ends."""
    with mock.patch.object(tracing, "_now", spans):
        yield
        spans.flush()


class Stages:
    """The stages of a tagger, for one thread."""

    def __init__(self, bundle: Path, folder: Path) -> None:
        self.stream = build_stream(f"sqlite:///{folder}/stream.db", "bench")
        store, producer = build_store(f"sqlite:///{folder}/store.db"), self.stream.producer()
        engine = FixedCost(build_engine(bundle))
        make_topics(self.stream, engine.manifest.epoch)
        preparer = EventPreparer(Intake(IntakeSettings()), engine.manifest.preprocess, 320, thumbnails=True)
        self._prepare = PrepareInThread(preparer)
        self._infer = Infer(engine=engine, manifest=engine.manifest, health=Health())
        self._effects = Effects(store, producer, None, engine.manifest, timeout_s=60)
        self._photo, self._number = photo_bytes(), 0

    def events(self, count: int) -> list[Job]:
        """New events of new listings, as a lane takes them."""
        made = []
        for _ in range(count):
            self._number += 1
            key, ref = f"shop/{self._number}", ImageRef(image_id="1", data=self._photo)
            event = ListingEvent(event_id=key, listing_id=key, event_time=FIRST_US, type="created", images=[ref])
            record = Record(Partition(UPLOADED, 0), self._number, FIRST_US // 1000, key.encode(), encode_event(event))
            made.append(Job(record=record, attempt=1))
        return made

    def run(self, jobs: Sequence[Job]) -> None:
        """Take events through all stages, with what the tagger's pipeline notes of each."""
        tracing.taken(jobs)
        for job in jobs:
            job.event = decode_event(job.record.value)
        photos = [photo for some in self._prepare.prepare(jobs) for photo in some.photos]
        for first in range(0, len(photos), BATCH):
            started = time.monotonic()
            batch = photos[first : first + BATCH]
            metrics.BATCH_SIZE.observe(len(batch))
            metrics.BATCH_WAIT.observe(time.monotonic() - started)
            for photo, row in self._infer.infer(batch):
                assert isinstance(row, ImageRow)
                photo.job.good(photo, row)
        with metrics.STAGE_SECONDS.labels("settle").time():
            assert self._effects.settle(jobs) == [None] * len(jobs)
        metrics.EVENTS.labels("tagger", "stored").inc(len(jobs))
        for job in jobs:
            metrics.EVENT_AGE.labels("stored").observe(0.1, tracing.exemplar_of(job))
            tracing.ended(job, "stored")


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
    stages = Stages(bundle, folder)
    every, sampled = (Spans(url, "tagger", share=share, queue=100_000) for share in (1.0, 0.01))
    ways: dict[str, Callable[[], AbstractContextManager[Any]]] = {
        "bare": without_metrics,
        "metrics": nullcontext,
        "traces": lambda: traced(every),
        "sampled": lambda: traced(sampled),
    }

    def cost(way: str) -> float:
        jobs = stages.events(events)
        began = time.process_time()
        with ways[way]():
            stages.run(jobs)
        return (time.process_time() - began) / events

    for way in ways:  # not counted
        cost(way)
    spare_collector()
    costs: dict[str, list[tuple[float, float]]] = {what: [] for what in COMPARED}
    for pair in range(pairs):
        for what, (without, with_it) in COMPARED.items():
            first = cost(with_it if pair % 2 else without)
            second = cost(without if pair % 2 else with_it)
            costs[what].append((second, first) if pair % 2 else (first, second))
    return {what: figures(found) for what, found in costs.items()}


def main() -> None:
    """Parse, measure, print."""
    options = parser(__doc__, tells="result", bundle=True)
    options.add_argument("--pairs", type=int, default=30, help="of each comparison (default 30)")
    options.add_argument("--events", type=int, default=64, help="events a chunk (default 64)")
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
