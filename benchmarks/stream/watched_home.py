"""A home with all workers, a Prometheus that watches them, and a steady load on them."""

from __future__ import annotations

import http.client
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.stream.search_load import photo
from deploy.operations.prometheus import Prometheus
from schemas.errors import GroknetError
from schemas.events import ImageRef, ListingEvent, encode_event
from schemas.topics import UPLOADED
from training.studio import DEMO_IDENTITIES
from workers.streams import build_stream
from workers.tagger import GROUP

START_S = 400.0  # a busy machine starts three workers slowly
LISTINGS, PHOTOS = 400, 40
_AGAIN_S = 0.2


@contextmanager
def running(home: Path, settings: str, environment: dict[str, str]) -> Iterator[str]:
    """`groknet run all` on a home with these settings (TOML). Gives the address of the target list. Its output goes to
    HOME/run.log."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "groknet.toml").write_text(settings)
    log = home / "run.log"
    command = [sys.executable, "-m", "groknet", "run", "all", "--home", str(home), "--port", "0"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | environment)
    try:
        until(
            lambda: process.poll() is not None or "all workers are ready" in log.read_text(),
            "all workers to be ready",
            START_S,
        )
        if process.poll() is not None:
            raise RuntimeError(f"the workers ended: {log.read_text()[-1000:]}")
        yield next(line.split("Prometheus: ")[1] for line in log.read_text().splitlines() if "Prometheus: " in line)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(90)


def until(true: Callable[[], bool], what: str, patience_s: float) -> float:
    """Wait for it, and return the seconds that it took. Raises RuntimeError if it takes longer."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > patience_s:
            raise RuntimeError(f"not within {patience_s:g} s: {what}")
        time.sleep(0.1)
    return time.monotonic() - began


class Load:
    """Uploads and searches for as long as the with-block runs. `uploads_per_s` and `extra` may be changed meanwhile.

    Uploads are new states of the same `LISTINGS` listings, each with one photo of 800 × 600, so that store and index
    keep their size.
    """

    def __init__(self, home: Path, stream_url: str, *, uploads_per_s: float, searches_per_s: float) -> None:
        self.uploads_per_s, self._searches_per_s = uploads_per_s, searches_per_s
        self.extra: Sequence[ImageRef] = ()
        """Photos of one seller: every third upload is followed by one of each."""
        self.sent = self.searched = self.failed = 0
        self._stream = build_stream(stream_url, "load")
        self._producer = self._stream.producer()
        self._port = int(json.loads((home / "run" / "search.json").read_text())["port"])
        self._photos = [photo(identity, 0) for identity in list(DEMO_IDENTITIES)[:PHOTOS]]
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._upload), threading.Thread(target=self._search)]

    def __enter__(self) -> Load:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._producer.close()

    def capacity(self, count: int) -> float:
        """Uploads a second that the taggers finish when `count` are sent at once. Call it before the with-block."""
        before = self._left()
        began = time.monotonic()
        for _ in range(count):
            self._send(ImageRef(image_id="0", data=self._photos[self.sent % PHOTOS]))
        self._producer.flush(60)
        until(lambda: self._left() <= before, "the taggers to finish", START_S)
        return count / (time.monotonic() - began)

    def _left(self) -> int:
        admin = self._stream.admin()
        try:
            committed = admin.committed(GROUP, UPLOADED)
            return sum(end - committed.get(p, 0) for p, end in admin.end_offsets(UPLOADED).items())
        finally:
            admin.close()

    def _send(self, ref: ImageRef, listing: str = "") -> None:
        listing = listing or f"soak/{self.sent % LISTINGS}"
        event = ListingEvent(
            event_id=f"{listing}@{self.sent}",
            listing_id=listing,
            event_time=time.time_ns() // 1000,
            type="created",
            images=[ref],
        )
        try:
            self._producer.send(UPLOADED, listing.encode(), encode_event(event))
            self.sent += 1
        except GroknetError:
            time.sleep(_AGAIN_S)

    def _upload(self) -> None:
        due, turn = time.monotonic(), 0
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + 1 / self.uploads_per_s, time.monotonic() - 1)
            turn += 1
            self._send(ImageRef(image_id="0", data=self._photos[turn % PHOTOS]))
            for ref in self.extra if turn % 3 == 0 else ():
                self._send(ref, f"seller-17/{turn}")

    def _search(self) -> None:
        turn = 0
        while not self._stop.wait(1 / self._searches_per_s):
            turn += 1
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            try:
                connection.request("POST", "/v1/search", self._photos[turn % PHOTOS], {"content-type": "image/jpeg"})
                answer = connection.getresponse()
                answer.read()
                self.searched += 1
                self.failed += answer.status != 200
            except (OSError, http.client.HTTPException):
                self.failed += 1
            finally:
                connection.close()


def largest(prometheus: Prometheus, expr: str, since: float, until_s: float) -> float | None:
    """The largest value of a query between two times (UTC seconds), over all of its series; None without any."""
    found = prometheus.range(expr, since, until_s, prometheus.every_s)
    values = [value for series in found for _, value in series.points if not math.isnan(value)]
    return max(values, default=None)
