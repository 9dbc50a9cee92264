"""Seeded fault schedules against real Kafka and Cassandra: `python -m tests.faults.schedules --seed 1 --schedules 3`.

Two taggers and an indexer run while workers are killed (-9) and ended (TERM), taggers join and leave, the broker and
the node are killed, restarted and paused, events come twice and out of order, and some photos are poison. Afterwards an
oracle compares the table, the compacted topic, the index and the dead letters with what the events say.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from deploy.local import Services, ServicesSettings
from engines.recognition import RecognitionEngine, build_engine
from groknet.ports import make_epoch_topics
from schemas.events import ListingEvent, encode_event
from schemas.topics import UPLOADED, source_topics
from tests.contract import cassandra_keyspace
from tests.faults.cluster import Cluster
from tests.faults.oracle import Oracle, Verdict
from tests.faults.poison import judge_dead_letters, poisoned
from tests.faults.workload import studio_jpegs, workload
from workers.stores import Store, build_store
from workers.streams import build_stream
from workers.streams.base import Stream

SETTLE_S = 180.0
WORKERS = ("tagger-a", "tagger-b", "indexer")
QUICK_JAVA = ("-XX:TieredStopAtLevel=1",)


class Schedule:
    """One run: servers, workers, a workload in portions, a fault after each, a verdict."""

    def __init__(self, home: Path, services: Services, engine: RecognitionEngine, bundle: Path, seed: int) -> None:
        self._services, self._engine, self._rng = services, engine, random.Random(seed)
        self._stream_url = f"kafka://{services.bootstrap}?session_s=6"
        self._store_url = cassandra_keyspace.fresh_url(services)
        cassandra_keyspace.make(self._store_url)
        environment = {"GROKNET__STREAM__URL": self._stream_url, "GROKNET__STORE__URL": self._store_url}
        self._cluster = Cluster(home, bundle=bundle, environment=environment)
        self.log: list[str] = []

    def run(self, events: list[ListingEvent], faults: int) -> Verdict:
        """Send the events in `faults` portions, do one fault after each, wait for the end, judge."""
        stream, store = build_stream(self._stream_url, "faults"), build_store(self._store_url)
        make_epoch_topics(stream, self._engine.manifest.epoch)
        for worker in WORKERS:
            self._cluster.start(worker)
        for worker in WORKERS:
            self._cluster.url(worker)
        try:
            portion = -(-len(events) // faults)
            for i in range(faults):
                self._send(stream, events[i * portion : (i + 1) * portion])
                time.sleep(self._rng.uniform(0.0, 1.5))
                self._fault()
                self._cluster.revive()
            self._until_committed(stream)
            return self._judge(events, stream, store)
        finally:
            self._cluster.stop()
            store.close()

    def _send(self, stream: Stream, events: list[ListingEvent]) -> None:
        producer = stream.producer()
        for event in events:
            producer.send(UPLOADED, event.listing_id.encode(), encode_event(event))
        producer.flush(60)
        producer.close()

    def _fault(self) -> None:
        tagger = self._rng.choice(WORKERS[:2])
        faults: dict[str, Callable[[], None]] = {
            f"kill -9 {tagger}": lambda: self._cluster.kill(tagger),
            f"end {tagger}": lambda: self._cluster.term(tagger),
            "kill -9 indexer": lambda: self._cluster.kill("indexer"),
            "kill -9 kafka-1": lambda: self._kill("kafka-1"),
            "pause kafka-1": lambda: self._pause("kafka-1"),
            "kill -9 cassandra-1": lambda: self._kill("cassandra-1"),
            "pause cassandra-1": lambda: self._pause("cassandra-1"),
        }
        name = self._rng.choice(sorted(faults))
        self.log.append(name)
        faults[name]()

    def _kill(self, server: str) -> None:
        self._services.kill(server)
        time.sleep(self._rng.uniform(0.0, 2.0))
        self._services.start(server)

    def _pause(self, server: str) -> None:
        self._services.pause(server)
        time.sleep(self._rng.uniform(1.0, 5.0))
        self._services.resume(server)

    def _until_committed(self, stream: Stream) -> None:
        deadline, admin = time.monotonic() + SETTLE_S, stream.admin()
        while time.monotonic() < deadline:
            self._cluster.revive()
            if all(_committed(admin, topic) for topic in source_topics()):
                admin.close()
                return
            time.sleep(0.5)
        raise AssertionError(f"not everything was committed within {SETTLE_S} s; {self._cluster.tail()}")

    def _judge(self, events: list[ListingEvent], stream: Stream, store: Store) -> Verdict:
        oracle, deadline = Oracle(self._engine, events), time.monotonic() + 20
        while True:
            verdict = oracle.judge(stream=stream, store=store, indexer_url=self._cluster.url("indexer"))
            judge_dead_letters(events, stream, verdict)
            if verdict.clean or time.monotonic() > deadline:
                return verdict
            time.sleep(1)


def _committed(admin, topic: str) -> bool:
    ends, done = admin.end_offsets(topic), admin.committed("tagger", topic)
    return all(done.get(partition, 0) >= end for partition, end in ends.items())


def run_seed(seed: int, *, bundle: Path, listings: int, faults: int, folder: Path, photos: list[bytes]) -> Verdict:
    """One schedule on servers of its own."""
    events = poisoned(workload(listings, photos, seed), share=0.05, seed=seed)
    with Services(folder / "services", ServicesSettings(java_options=QUICK_JAVA)) as services:
        schedule = Schedule(folder, services, build_engine(bundle), bundle, seed)
        try:
            return schedule.run(events, faults)
        finally:
            sys.stderr.write(f"seed {seed}: {', '.join(schedule.log)}\n")


def main() -> int:
    """Run schedules and print a line each; the exit code is the number of schedules that found something."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of the first schedule; the next ones count up")
    parser.add_argument("--schedules", type=int, default=3)
    parser.add_argument("--listings", type=int, default=150)
    parser.add_argument("--faults", type=int, default=6, help="faults a schedule")
    parser.add_argument("--bundle", type=Path, default=Path(__file__).parents[2] / "training/bundles/demo")
    arguments = parser.parse_args()
    photos, bad = studio_jpegs(30), 0
    for seed in range(arguments.seed, arguments.seed + arguments.schedules):
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            verdict = run_seed(
                seed,
                bundle=arguments.bundle,
                listings=arguments.listings,
                faults=arguments.faults,
                folder=Path(folder),
                photos=photos,
            )
        bad += not verdict.clean
        sys.stdout.write(f"seed {seed}: {verdict} ({time.monotonic() - started:.0f} s)\n")
        sys.stdout.flush()
    return bad


if __name__ == "__main__":
    sys.exit(main())
