"""Taggers that join one by one under load, on real Kafka and Cassandra: `python -m tests.faults.growth --json`.

First with more to do than taggers can: events a second before, during and after each join. Then with a steady load of
half of what one tagger did: how long each listing waits from its upload until it is stored. After each join Kafka is
asked who has how many live partitions. Each tagger has a home of its own and `--threads` threads for its engine: one,
which is fair on two cores. The exit code is 1 when a limit is not kept.
"""

from __future__ import annotations

import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.report import machine, parser, write_result
from deploy.local import Services
from groknet.run.open_back_ends import make_topics
from schemas.errors import GroknetError
from schemas.events import ImageRef, ListingEvent, encode_event
from schemas.manifest import load_manifest
from schemas.predictions import StoredListing
from schemas.topics import UPLOADED, topics_for
from tests.contract import cassandra_keyspace
from tests.faults import groups, servers
from tests.faults.cluster import Cluster
from tests.faults.growing import wait_even
from tests.faults.workload import FIRST_US, studio_jpegs
from workers.stores import build_store
from workers.streams import build_stream

NAMES = ("tagger-a", "tagger-b", "tagger-c", "tagger-d")
SHARE_OF_ONE = 0.5
"""The steady load, as a share of what one tagger does."""
FULL = 300
"""Events that wait at least, where there is more to do than can be done."""
EVENTS_RATIO, LONGER_S = 0.9, 5.0
"""Limits: events a second over one tagger's; how much longer a listing may wait than without a join."""


@dataclass
class Load:
    """What was sent when, and how many events were committed when."""

    sent: dict[str, float] = field(default_factory=dict)
    """Unix seconds by listing."""
    seen: list[tuple[float, int]] = field(default_factory=list)

    def rate(self, begin: float, end: float) -> float:
        """Events a second that were committed between two moments, in Unix seconds."""
        inside = [(at, count) for at, count in self.seen if begin <= at <= end]
        (first, few), (last, many) = inside[0], inside[-1]
        return (many - few) / (last - first)


class Ground:
    """Servers, topics, a keyspace and taggers that are started one by one."""

    def __init__(self, services: Services, bundle: Path, folder: Path, threads: int) -> None:
        """Everything new; no tagger runs."""
        servers.remove_topics(services)
        self.services = services
        self._store_url, stream_url = servers.fresh_store_url(services), servers.stream_url(services)
        stream = build_stream(stream_url, "growth")
        make_topics(stream, topics_for(load_manifest(bundle).epoch))
        self._producer, self._admin = stream.producer(), stream.admin()
        self._photos = studio_jpegs(24)
        folder.mkdir()
        urls = {"GROKNET__STREAM__URL": stream_url, "GROKNET__STORE__URL": self._store_url}
        self.cluster = Cluster(folder, bundle=bundle, environment=urls | {"GROKNET__ENGINE__THREADS": str(threads)})
        self.load = Load()

    @contextmanager
    def loaded(self, rate: float | None) -> Iterator[None]:
        """Send one-photo listings all the while, `rate` a second; None: so that `FULL` always wait."""
        over = threading.Event()
        work = (lambda: self._keep_full(over)) if rate is None else (lambda: self._keep_pace(over, rate))
        threads = [threading.Thread(target=work), threading.Thread(target=self._sample, args=(over,))]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _keep_full(self, over: threading.Event) -> None:
        while not over.wait(0.2):
            if len(self.load.sent) - self._committed() < FULL:
                self._send(100)

    def _keep_pace(self, over: threading.Event, rate: float) -> None:
        began, count = time.monotonic(), 0
        while not over.wait(0.05):
            due = int((time.monotonic() - began) * rate)
            self._send(due - count)
            count = due

    def _sample(self, over: threading.Event) -> None:
        while not over.wait(0.25):
            try:
                self.load.seen.append((time.time(), self._committed()))
            except GroknetError:
                continue  # asked again at once

    def _committed(self) -> int:
        return sum(groups.committed(self._admin, UPLOADED).values())

    def _send(self, count: int) -> None:
        for _ in range(count):
            number = len(self.load.sent)
            ref = ImageRef(image_id="1", data=random.choice(self._photos))
            event = ListingEvent(
                event_id=str(number),
                listing_id=f"growth/{number}",
                event_time=FIRST_US + number,
                type="created",
                images=[ref],
            )
            self.load.sent[event.listing_id] = time.time()
            self._producer.send(UPLOADED, event.listing_id.encode(), encode_event(event))

    def until_stored(self, patience_s: float = 120.0) -> None:
        """Until all that was sent is committed; raises AssertionError when it is not in time."""
        self._producer.flush(30)
        deadline = time.monotonic() + patience_s
        while self._committed() < len(self.load.sent):
            assert time.monotonic() < deadline, "listings are not stored"
            time.sleep(0.1)

    def waits(self) -> dict[str, float]:
        """Seconds from upload to stored, by listing."""
        store = build_store(self._store_url)
        try:
            stored = {s.listing_id: s.stored_at / 1e6 for s in store.scan() if isinstance(s, StoredListing)}
        finally:
            store.close()
        return {name: stored[name] - at for name, at in self.load.sent.items()}

    def close(self) -> None:
        """End all of it."""
        with ExitStack() as stack:
            stack.callback(cassandra_keyspace.drop, self._store_url)
            stack.callback(self._admin.close)
            stack.callback(self._producer.close)
            stack.callback(self.cluster.stop)


@dataclass(frozen=True, slots=True)
class Join:
    """One more tagger: how many there are, their live partitions, and when it began."""

    taggers: int
    shares: list[int]
    even_s: float
    began: float


def grow(ground: Ground, taggers: int, window_s: float, rate: float | None) -> tuple[float, list[Join]]:
    """Start taggers one by one, each with two windows of time; returns when the first window began, and the joins."""
    ground.cluster.start(NAMES[0])
    ground.cluster.url(NAMES[0])
    with ground.loaded(rate):
        time.sleep(window_s / 2)  # it warms up
        alone = time.time()
        time.sleep(window_s)
        joins = []
        for count in range(2, taggers + 1):
            began = time.time()
            ground.cluster.start(NAMES[count - 1])
            ground.cluster.url(NAMES[count - 1])
            shares = wait_even(ground.services.bootstrap, count)
            joins.append(Join(count, sorted(shares.values()), round(time.time() - began, 1), began))
            time.sleep(max(0.0, began + 2 * window_s - time.time()))
    return alone, joins


def throughput(
    ground: Ground, alone: float, joins: Sequence[Join], window_s: float
) -> tuple[float, list[dict[str, Any]]]:
    """Events a second of one tagger, and during and after each join."""
    rate = ground.load.rate
    one = rate(alone, alone + window_s)
    rows = []
    for join in joins:
        middle = join.began + window_s
        during, after = rate(join.began, middle), rate(middle, middle + window_s)
        rows.append(
            {
                "taggers": join.taggers,
                "live_partitions": join.shares,
                "even_after_s": join.even_s,
                "events_per_s_during": round(during, 1),
                "events_per_s_after": round(after, 1),
                "during_over_one": round(during / one, 2),
                "after_over_one": round(after / one, 2),
            }
        )
    return one, rows


def waiting(ground: Ground, alone: float, joins: Sequence[Join], window_s: float) -> list[dict[str, Any]]:
    """How long listings waited that were uploaded before, during and after each join, in seconds."""
    waits = ground.waits()
    windows = [("one tagger", alone)]
    for join in joins:
        windows += [(f"tagger {join.taggers} joins", join.began), (f"{join.taggers} taggers", join.began + window_s)]
    rows = []
    for name, begin in windows:
        inside = [waits[listing] for listing, at in ground.load.sent.items() if begin <= at < begin + window_s]
        rows.append(
            {
                "window": name,
                "listings": len(inside),
                "p50_s": round(statistics.median(inside), 2),
                "max_s": round(max(inside), 2),
            }
        )
    return rows


def measure(
    services: Services, bundle: Path, folder: Path, *, taggers: int, threads: int, window_s: float
) -> dict[str, Any]:
    """Both loads, one after the other, each on ground of its own."""
    full = Ground(services, bundle, folder / "full", threads)
    try:
        one, joins = throughput(full, *grow(full, taggers, window_s, None), window_s)
    finally:
        full.close()
    steady = Ground(services, bundle, folder / "steady", threads)
    try:
        alone, joined = grow(steady, taggers, window_s, SHARE_OF_ONE * one)
        steady.until_stored()
        waits = waiting(steady, alone, joined, window_s)
    finally:
        steady.close()
    kept = {
        "even": all(groups.even(dict(enumerate(j.shares)), j.taggers) for j in joined)
        and all(groups.even(dict(enumerate(row["live_partitions"])), row["taggers"]) for row in joins),
        "events_during": all(row["during_over_one"] >= EVENTS_RATIO for row in joins),
        "events_after": all(row["after_over_one"] >= EVENTS_RATIO for row in joins),
        "waits": all(row["max_s"] <= waits[0]["max_s"] + LONGER_S for row in waits),
    }
    return {
        "events_per_s_of_one": round(one, 1),
        "joins": joins,
        "load_per_s": round(SHARE_OF_ONE * one, 1),
        "waits": waits,
        "kept": kept,
        "engine_threads": threads,
        "machine": machine(),
    }


def main() -> int:
    """Parse, start the servers, measure, print."""
    options = parser(__doc__, tells="result", bundle=True)
    options.add_argument("--taggers", type=int, choices=range(2, 5), default=4, help="how many in the end (default 4)")
    options.add_argument("--threads", type=int, default=1, help="of each tagger's engine (default 1)")
    options.add_argument("--window", type=float, default=20.0, help="seconds of each window (default 20)")
    chosen = options.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # taggers and servers must not outlive this process
    with tempfile.TemporaryDirectory() as folder, Services(Path(folder) / "services", servers.settings()) as services:
        result = measure(
            services,
            chosen.bundle,
            Path(folder),
            taggers=chosen.taggers,
            threads=chosen.threads,
            window_s=chosen.window,
        )
    if chosen.json:
        write_result(result, True)
    else:
        lines = {name: value for name, value in result.items() if not isinstance(value, list)}
        rows = {f"join {row['taggers']}": row for row in result["joins"]}
        write_result(lines | rows | {row["window"]: row for row in result["waits"]}, False)
    return int(not all(result["kept"].values()))


if __name__ == "__main__":
    sys.exit(main())
