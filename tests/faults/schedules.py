"""Seeded fault schedules against real Kafka and Cassandra: `python -m tests.faults.schedules --seed 1 --schedules 3`.

Two taggers and an indexer run while workers are killed (-9) and ended (TERM), a third tagger joins and leaves, the
broker and the node are killed, restarted and paused, dead letters cannot be written, events come twice and out of
order, and some photos are poison. Afterwards an oracle compares the table, the compacted topic, the index and the
dead letters with what the events say.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from deploy.local import Services
from engines.recognition import build_engine
from groknet.ports import make_epoch_topics
from schemas.events import ListingEvent, encode_event
from schemas.manifest import load_manifest
from schemas.topics import UPLOADED, source_topics
from tests.contract import cassandra_keyspace
from tests.faults import servers
from tests.faults.cluster import Cluster
from tests.faults.oracle import Oracle, Truth, Verdict
from tests.faults.poison import judge_dead_letters, poisoned
from tests.faults.workload import studio_jpegs, workload
from workers.stores import Store, build_store
from workers.streams import build_stream
from workers.streams.base import Stream, StreamAdmin

SETTLE_S = 180.0
WORKERS = ("tagger-a", "tagger-b", "indexer")
PHOTOS = 24
BUNDLE = Path(__file__).parents[2] / "training/bundles/demo"
RETRIES = Path(__file__).with_name("quick_retries.py")
ENVIRONMENT = {
    "GROKNET__ENGINE__THREADS": "1",  # two taggers, two servers and an indexer share the cores
    "GROKNET__TAGGER__IN_PLACE_TRIES": "8",  # some 9 s: most restarts are waited out, some become retries
    "GROKNET__TAGGER__MAX_ATTEMPTS": "20",  # here the harness kills, not a photo
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How long a schedule is."""

    listings: int = 80
    faults: int = 5


@dataclass
class Outcome:
    """What came of one schedule."""

    seed: int
    verdict: Verdict
    faults: list[str]
    seconds: float

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.verdict} ({self.seconds:.0f} s; {', '.join(self.faults)})"


@dataclass
class Harness:
    """Runs schedules on one set of servers, one after the other."""

    services: Services
    bundle: Path = BUNDLE
    plan: Plan = field(default_factory=Plan)

    def __post_init__(self) -> None:
        self._engine = build_engine(self.bundle)
        self._photos = studio_jpegs(PHOTOS)
        self._truth: Truth = {}

    def run(self, seed: int) -> Outcome:
        """One schedule in a folder, a keyspace and topics of its own."""
        started = time.monotonic()
        events = poisoned(workload(self.plan.listings, self._photos, seed), share=0.05, seed=seed)
        self.services.up()  # whatever an earlier schedule has left
        servers.remove_topics(self.services)
        store_url = servers.fresh_store_url(self.services)
        with tempfile.TemporaryDirectory() as folder:
            schedule = Schedule(Path(folder), self.services, store_url, bundle=self.bundle, seed=seed)
            try:
                oracle = Oracle(self._engine, events, self._truth)
                verdict = schedule.run(events, self.plan.faults, oracle)
            except BaseException:
                sys.stderr.write(f"seed {seed}: {', '.join(schedule.log)}\n")
                raise
        cassandra_keyspace.drop(store_url)
        return Outcome(seed, verdict, schedule.log, time.monotonic() - started)


class Schedule:
    """One run: workers, a workload in portions, a fault after each, a verdict."""

    def __init__(self, home: Path, services: Services, store_url: str, *, bundle: Path, seed: int) -> None:
        self._services, self._rng = services, random.Random(seed)
        self._epoch = load_manifest(bundle).epoch
        self._stream_url, self._store_url = servers.stream_url(services), store_url
        environment = ENVIRONMENT | {"GROKNET__STREAM__URL": self._stream_url, "GROKNET__STORE__URL": store_url}
        self._cluster = Cluster(home, bundle=bundle, tagger_script=RETRIES, environment=environment)
        self.log: list[str] = []

    def run(self, events: list[ListingEvent], faults: int, oracle: Oracle) -> Verdict:
        """Send the events in `faults` portions, do one fault after each, wait for the end, judge."""
        stream, store = build_stream(self._stream_url, "faults"), build_store(self._store_url)
        make_epoch_topics(stream, self._epoch)
        for worker in WORKERS:
            self._cluster.start(worker)
        portion = -(-len(events) // faults)
        try:
            for i in range(faults):
                self._send(stream, events[i * portion : (i + 1) * portion])
                if i == 0:
                    for worker in WORKERS:
                        self._cluster.url(worker)
                time.sleep(self._rng.uniform(0.0, 1.0))
                self._fault()
                self._cluster.revive()
            self._until_committed(stream)
            return self._judge(events, stream, store, oracle)
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
            "a third tagger": self._third_tagger,
            "dead letters refused": self._refuse_dead_letters,
        }
        for server in ("kafka-1", "cassandra-1"):
            faults[f"kill -9 {server}"] = partial(servers.kill, self._services, server, self._rng)
            faults[f"pause {server}"] = partial(servers.pause, self._services, server, self._rng)
        name = self._rng.choice(sorted(faults))
        self.log.append(name)
        faults[name]()

    def _third_tagger(self) -> None:
        """It joins, works for a moment and leaves: two rebalances."""
        self._cluster.start("tagger-c")
        self._cluster.url("tagger-c")
        time.sleep(self._rng.uniform(0.0, 1.0))
        self._cluster.leave("tagger-c")

    def _refuse_dead_letters(self) -> None:
        """Taggers that have one to write must end without committing; they are started again, as by a supervisor."""
        servers.refuse_dead_letters(self._services, True)
        time.sleep(self._rng.uniform(1.0, 4.0))
        self._cluster.revive()
        servers.refuse_dead_letters(self._services, False)

    def _until_committed(self, stream: Stream) -> None:
        deadline, admin = time.monotonic() + SETTLE_S, stream.admin()
        while time.monotonic() < deadline:
            self._cluster.revive()
            if all(_committed(admin, topic) for topic in source_topics()):
                admin.close()
                return
            time.sleep(0.2)
        raise AssertionError(f"not everything was committed within {SETTLE_S} s; {self._cluster.tail()}")

    def _judge(self, events: list[ListingEvent], stream: Stream, store: Store, oracle: Oracle) -> Verdict:
        deadline = time.monotonic() + 20
        while True:
            verdict = oracle.judge(stream=stream, store=store, indexer_url=self._cluster.url("indexer"))
            judge_dead_letters(events, stream, verdict)
            if verdict.clean or time.monotonic() > deadline:
                return verdict
            time.sleep(0.5)


def _committed(admin: StreamAdmin, topic: str) -> bool:
    ends, done = admin.end_offsets(topic), admin.committed("tagger", topic)
    return all(done.get(partition, 0) >= end for partition, end in ends.items())


def main() -> int:
    """Run schedules and print a line each; the exit code is the number of schedules that found something."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="of the first schedule; the next ones count up")
    parser.add_argument("--schedules", type=int, default=3)
    parser.add_argument("--listings", type=int, default=Plan().listings, help="listings a schedule")
    parser.add_argument("--faults", type=int, default=Plan().faults, help="faults a schedule")
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    arguments = parser.parse_args()
    bad, began = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder, Services(Path(folder), servers.settings()) as services:
        harness = Harness(services, arguments.bundle, Plan(arguments.listings, arguments.faults))
        for seed in range(arguments.seed, arguments.seed + arguments.schedules):
            outcome = harness.run(seed)
            bad += not outcome.verdict.clean
            sys.stdout.write(f"{outcome}\n")
            sys.stdout.flush()
    clean = arguments.schedules - bad
    sys.stdout.write(f"{clean} of {arguments.schedules} schedules clean in {time.monotonic() - began:.0f} s\n")
    return bad


if __name__ == "__main__":
    sys.exit(main())
