"""What a slow photo host costs all other listings: `python -m benchmarks.stream.slow_hosts`.

A tagger on the embedded back ends gets listings at a steady rate, half with an inline photo and half with the address
of a host that answers at once. In every second phase, four listings of twenty photos each come first. Their host sends
a photo evenly over 13 s. Quiet and slow phases take turns; each has a folder of its own.
"""

from __future__ import annotations

import io
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.report import parser, write_result
from engines.recognition import RecognitionEngine, build_engine
from schemas.events import ImageRef, ListingEvent, encode_event
from schemas.predictions import StoredListing
from schemas.topics import UPLOADED, topics_for
from training.studio import TEST_IDENTITIES, make_product, render
from workers.http.serving import Health
from workers.intake import Intake, IntakeSettings
from workers.stores import build_store
from workers.streams import build_stream
from workers.streams.base import TopicSpec
from workers.tagger import TaggerSettings, build_tagger

SLOW_LISTINGS, SLOW_PHOTOS = 4, 20
SLOW_S, PIECES = 13.0, 26  # seconds for one photo, and the number of pieces in which it comes
PATIENCE_S = 300.0
WARM = 8  # listings before each phase that do not count


def photo(number: int) -> bytes:
    """A studio photo of 400 × 300 as JPEG bytes."""
    buffer = io.BytesIO()
    pixels = render(make_product(TEST_IDENTITIES[number]), view=0, size=(400, 300)).pixels
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


@contextmanager
def host(data: bytes, seconds: float) -> Iterator[int]:
    """A photo host on loopback that sends `data` evenly over so many seconds. Yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            size = -(-len(data) // PIECES) if seconds else len(data)
            try:
                for first in range(0, len(data), size):
                    time.sleep(seconds / PIECES)
                    self.wfile.write(data[first : first + size])
            except OSError:
                return  # the tagger gave up

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class Phase:
    """One run of a tagger in a folder of its own."""

    def __init__(self, engine: RecognitionEngine, home: Path, ports: tuple[int, int], data: bytes) -> None:
        self._engine, self._home, self._data = engine, home, data
        self._private = f"localhost:{ports[0]}", f"127.0.0.1:{ports[1]}"  # two hosts by name
        self._quick, self._slow = (f"http://{name}" for name in self._private)

    def run(self, count: int, rate: float, *, slow: bool) -> list[float]:
        """Seconds from sending to stored, for each of `count` listings sent at `rate` a second."""
        stream = build_stream(f"sqlite:///{self._home}/stream.db", "bench")
        store = build_store(f"sqlite:///{self._home}/store.db")
        admin = stream.admin()
        admin.ensure_topics(
            [
                TopicSpec(t.name, t.partitions, t.cleanup == "compact", t.retention_ms)
                for t in topics_for(self._engine.manifest.epoch)
            ]
        )
        producer, stop = stream.producer(), threading.Event()
        tagger = build_tagger(
            TaggerSettings(),
            stream=stream,
            store=store,
            engine=self._engine,
            intake=Intake(IntakeSettings(allowed_private=self._private)),
            home=self._home,
            health=(health := Health()),
        )
        thread = threading.Thread(target=tagger.run, args=(stop,))
        thread.start()
        while not health.ready:
            time.sleep(0.05)
        for n in range(WARM):
            self._send(producer, f"warm/{n}", [f"{self._quick}/{n}"] if n % 2 else [])
        while len(store.latest([f"warm/{n}" for n in range(WARM)])) < WARM:
            time.sleep(0.05)
        if slow:
            for n in range(SLOW_LISTINGS):
                self._send(producer, f"slow/{n}", [f"{self._slow}/{i}" for i in range(SLOW_PHOTOS)])
            time.sleep(1.0)  # its connections are open
        sent: dict[str, float] = {}
        for n in range(count):
            began = time.monotonic()
            sent[f"l/{n}"] = time.time()
            self._send(producer, f"l/{n}", [f"{self._quick}/{n}"] if n % 2 else [])
            time.sleep(max(0.0, began + 1 / rate - time.monotonic()))
        ends = time.monotonic() + PATIENCE_S
        while len(store.latest(list(sent))) < count and time.monotonic() < ends:
            time.sleep(0.2)
        found = store.get(list(sent))
        stop.set()
        thread.join()
        store.close()
        times = {one.listing_id: one.stored_at / 1e6 for one in found.values() if isinstance(one, StoredListing)}
        return [times[name] - at for name, at in sent.items()]

    def _send(self, producer: Any, name: str, urls: list[str]) -> None:
        photos = [ImageRef(image_id=str(i), url=url) for i, url in enumerate(urls)]
        event = ListingEvent(
            event_id=name,
            listing_id=name,
            event_time=time.time_ns() // 1000,
            type="created",
            images=photos or [ImageRef(image_id="1", data=self._data)],
        )
        producer.send(UPLOADED, name.encode(), encode_event(event)).wait(30)


def percentile(seconds: list[float], percent: int) -> float:
    """The smallest value that at least `percent` of them do not exceed."""
    return sorted(seconds)[-(-len(seconds) * percent // 100) - 1]


def measure(bundle: Path, count: int, rate: float, repeats: int) -> dict[str, Any]:
    """Percentiles of quiet and slow phases in milliseconds, and the medians of their ratios."""
    engine, data = build_engine(bundle), photo(0)
    rounds: list[dict[bool, list[float]]] = []
    with host(data, 0.0) as quick, host(data, SLOW_S) as slow_port:
        for _ in range(repeats):
            found = {}
            for slow in (False, True):
                with tempfile.TemporaryDirectory() as folder:
                    found[slow] = Phase(engine, Path(folder), (quick, slow_port), data).run(count, rate, slow=slow)
            rounds.append(found)
    merged = {slow: [s for one in rounds for s in one[slow]] for slow in (False, True)}
    ms = {
        f"{'slow' if slow else 'quiet'}_p{p}_ms": round(1000 * percentile(merged[slow], p), 1)
        for slow in (False, True)
        for p in (50, 99)
    }
    ratios = {
        f"p{p}_ratio": round(statistics.median(percentile(r[True], p) / percentile(r[False], p) for r in rounds), 2)
        for p in (50, 99)
    }
    return {
        **ms,
        **ratios,
        "slowest_ratio": round(max(merged[True]) / max(merged[False]), 2),
        "listings_a_phase": count,
        "repeats": repeats,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, no GPU used, Python {platform.python_version()}",
    }


def main() -> None:
    """Parse, measure, print."""
    options = parser(__doc__, tells="result", bundle=True, repeats=3)
    options.add_argument("--listings", type=int, default=100, help="listings a phase (default 100)")
    options.add_argument("--rate", type=float, default=4.0, help="listings a second (default 4)")
    arguments = options.parse_args()
    write_result(measure(arguments.bundle, arguments.listings, arguments.rate, arguments.repeats), arguments.json)


if __name__ == "__main__":
    main()
