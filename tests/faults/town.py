"""Where schedules take place: topics, a keyspace, two taggers and an indexer on real servers, and what was sent there.

Kept from one schedule to the next, since starting workers takes longer than all that is done to them.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from deploy.local import Services
from engines.recognition import RecognitionEngine
from groknet.run.open_back_ends import make_topics
from schemas.errors import GroknetError, Transient
from schemas.events import ListingEvent, encode_event
from schemas.manifest import load_manifest
from schemas.topics import PRODUCTS, UPLOADED, source_topics, topics_for
from tests.contract import cassandra_keyspace
from tests.faults import groups, servers
from tests.faults.cluster import Cluster
from tests.faults.deadline import BASE_S, Deadline
from tests.faults.ladder import DELAYS_S, SLOWNESS
from tests.faults.letters import judge_large, judge_retries
from tests.faults.oracle import Oracle, Truth, Verdict
from tests.faults.photo_host import PhotoHost
from tests.faults.poison import judge_dead_letters
from tests.faults.products_oracle import ProductsOracle
from tests.faults.supervised import Supervised
from workers.stages.detect import Looking
from workers.stores import build_store
from workers.streams import build_stream
from workers.streams.base import Partition, Record

INDEXER_S = 5.0 * SLOWNESS
READY_S = 180.0 * SLOWNESS  # three workers that start at once on two busy cores
TAGGERS = ("tagger-a", "tagger-b")
WORKERS = (*TAGGERS, "indexer")
PRODUCTS_WORKER = "products"
SEND_S = 150.0 * SLOWNESS  # longer than the longest outage of a broker
FLUSH_S = 20.0 * SLOWNESS  # a client that has given up is replaced at the next send, not by waiting
RETRIES = Path(__file__).with_name("quick_retries.py")
ENVIRONMENT = {
    "GROKNET__ENGINE__THREADS": "1",  # two taggers, two servers and an indexer share the cores
    # A ladder of some 25 s, that an outage of a minute outlasts as 15 minutes outlast the real one.
    "GROKNET__TAGGER__IN_PLACE_TRIES": "4",
    "GROKNET__TAGGER__DELIVERY_TIMEOUT_S": f"{5 * SLOWNESS:g}",
    # Small, so that a burst fills it, and a server that is away for a moment pauses partitions.
    "GROKNET__TAGGER__MAX_IN_FLIGHT_EVENTS": "24",
    "GROKNET__TAGGER__PAUSE_AFTER_S": "0.5",
    "GROKNET__TAGGER__MAX_ATTEMPTS": "20",  # here the harness kills, not a photo
    "GROKNET__INTAKE__READ_TIMEOUT_S": "1",
    "GROKNET__INTAKE__TOTAL_TIMEOUT_S": "3",
    "GROKNET__INTAKE__ATTEMPTS": "2",
}
ENVIRONMENT_OF = {"tagger-b": {"GROKNET__TAGGER__DECODE_PROCESSES": "1"}}  # the others decode in threads
"""Without a detector. With one, no tagger may decode in processes."""


Still = dict[Partition, tuple[int, float]]
"""Events that each partition has left, and the moment (monotonic seconds) since when it has been so many."""


class Stalled(Exception):
    """Events wait though nothing was done to anybody."""


class Town:
    """Workers that run, and all events that they were sent."""

    def __init__(
        self,
        services: Services,
        bundle: Path,
        host: PhotoHost,
        *,
        supervised: bool = False,
        script: Path = RETRIES,
        products: bool = False,
    ) -> None:
        """Everything new: topics, keyspace, homes; the workers are started. `supervised`: one home whose workers
        `groknet run all` starts. `script`: what each tagger runs where they are not supervised. `products`: a products
        worker runs as well."""
        servers.remove_topics(services)
        self.services, self.host, self.supervised = services, host, supervised
        self.schedules = 0
        self._events: list[ListingEvent] = []
        self._store_url, stream_url = servers.fresh_store_url(services), servers.stream_url(services)
        self._stream, self._store = build_stream(stream_url, "faults"), build_store(self._store_url)
        manifest = load_manifest(bundle)
        make_topics(self._stream, topics_for(manifest.epoch))
        self._products = ProductsOracle(manifest.epoch) if products else None
        self._workers = (*WORKERS, PRODUCTS_WORKER) if products else WORKERS
        self._producer, self.admin = self._stream.producer(), self._stream.admin()
        self._home = Path(tempfile.mkdtemp(prefix="groknet-faults-"))
        urls = {"GROKNET__STREAM__URL": stream_url, "GROKNET__STORE__URL": self._store_url}
        private = {"GROKNET__INTAKE__ALLOWED_PRIVATE": json.dumps([host.address])}
        environment = ENVIRONMENT | urls | private | {"GROKNET__PRODUCTS__ENABLED": json.dumps(products)}
        self.cluster: Cluster | Supervised
        if supervised:
            self.cluster = Supervised(self._home, bundle=bundle, environment=environment, products=products)
        else:
            self.cluster = Cluster(
                self._home,
                bundle=bundle,
                tagger_script=script,
                environment=environment,
                environment_of={} if manifest.detection else ENVIRONMENT_OF,
            )
            for worker in self._workers:
                self.cluster.start(worker)

    def settle_in(self) -> None:
        """One more schedule takes place here; returns when every worker is ready for it."""
        self.schedules += 1
        if isinstance(self.cluster, Supervised):
            self.cluster.wait_ready()
            return
        for worker in self._workers:
            self.cluster.url(worker, revive=True, timeout_s=READY_S)

    def send(self, events: list[ListingEvent]) -> None:
        """Send durably, again where a broker was away for too long: events that come twice are part of the trial."""
        self.expect(events)
        deadline = time.monotonic() + SEND_S
        while True:
            try:
                for event in events:
                    self._producer.send(UPLOADED, event.listing_id.encode(), encode_event(event))
                self._producer.flush(FLUSH_S)
                return
            except GroknetError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def expect(self, events: list[ListingEvent]) -> None:
        """These were sent, or will be."""
        self._events += events

    def backlog(self) -> int:
        """Events of all topics that are not committed. Raises GroknetError."""
        return sum(sum(self._left(topic).values()) for topic in source_topics())

    def _left(self, topic: str) -> dict[Partition, int]:
        """How many events of each partition are not committed. Raises GroknetError."""
        done = groups.committed(self.admin, topic)
        return {place: max(0, end - done.get(place, 0)) for place, end in self.admin.end_offsets(topic).items()}

    def _waiting(self, topic: str) -> list[Record]:
        """The events of a topic that are not committed. Raises GroknetError."""
        left = self._left(topic)
        if not any(left.values()):
            return []
        start = {place: end - left[place] for place, end in self.admin.end_offsets(topic).items()}
        return list(self.admin.read(topic, start))

    def measure(self, events: list[ListingEvent]) -> float:
        """Send some while nothing is wrong and wait until they are committed; returns events a second. Raises Stalled
        when they are not within a minute."""
        began = time.monotonic()
        self.send(events)
        while self.backlog():
            if time.monotonic() - began > BASE_S:
                raise Stalled(f"{self.backlog()} of {len(events)} events are left after {BASE_S:.0f} s without a fault")
            time.sleep(0.05)
        return len(events) / (time.monotonic() - began)

    def after_faults(self, rate: float, base_s: float = BASE_S) -> Deadline:
        """The last fault is over: the time runs."""
        deadline = Deadline(backlog=0, rate=rate, base_s=base_s)
        while True:
            try:
                deadline.backlog = self.backlog()
                return deadline
            except GroknetError:
                if deadline.over:
                    raise

    def judge(
        self, engine: RecognitionEngine, truth: Truth, deadline: Deadline, looking: Looking | None = None
    ) -> Verdict:
        """Wait until all that was ever sent here is stored and searchable, or the time is up; compare with the events.
        Nothing is started again meanwhile."""
        still: Still = {}
        left = self._until_committed(deadline, still)
        oracle = Oracle(engine, self._events, truth, self.host.photos, looking)
        while True:
            passed_s, over = deadline.passed_s, deadline.over or bool(left)
            try:
                verdict = oracle.judge(stream=self._stream, store=self._store, indexer_url=self._indexer_url())
                judge_dead_letters(self._events, self._stream, verdict)
                if self._products is not None:
                    self._products.judge(self._stream, self._store, verdict)
                if verdict.clean or over:
                    break
            except Transient:  # the harness's own client has not found a node again that has just come back
                if deadline.passed_s > deadline.allowed_s + BASE_S:
                    raise
            time.sleep(0.2)
        if verdict.clean and not left:
            deadline.took_s = passed_s
        verdict.excuse({listing for listing, _ in left})
        verdict.late[:0] = _by_place(left, still)
        judge_retries(self._events, self.admin, verdict)
        judge_large(self._events, self.admin, verdict)
        if self._products is not None and verdict.clean:
            self._judge_restart(self._products, verdict)
        verdict.ended += self.cluster.ended
        self.cluster.ended.clear()
        return verdict

    def _judge_restart(self, products: ProductsOracle, verdict: Verdict) -> None:
        """The products worker is killed and starts once more: ids stay, and nothing is said again."""
        said = sum(self.admin.end_offsets(PRODUCTS).values())
        belongs = {one.listing_id: one for one in self._store.all_memberships()}
        self.cluster.kill(PRODUCTS_WORKER)
        self.cluster.url(PRODUCTS_WORKER, timeout_s=READY_S)
        products.judge(self._stream, self._store, verdict)
        for one in self._store.all_memberships():
            if one != belongs.get(one.listing_id):
                verdict.wrong.append(f"product: {one.listing_id}: {one.product_id} after a restart")
        again = sum(self.admin.end_offsets(PRODUCTS).values()) - said
        if again:
            verdict.extra.append(f"{again} messages of products after a restart that changed nothing")

    def _until_committed(self, deadline: Deadline, still: Still) -> list[tuple[str, Partition]]:
        """Returns when the taggers have committed all, retries included; else, when the time is up, what is left:
        listing and place of each event. `still` is told since when each partition has had as much left."""
        while True:
            with contextlib.suppress(Transient):  # a broker that has just come back
                counts = {place: count for topic in source_topics() for place, count in self._left(topic).items()}
                if not any(counts.values()):
                    return []
                for place, count in counts.items():
                    if place not in still or still[place][0] != count:
                        still[place] = count, time.monotonic()
                retries = [record for topic in DELAYS_S for record in self._waiting(topic)]
                if deadline.over or any(_retry_late(record, deadline) for record in retries):
                    left = [*self._waiting(UPLOADED), *retries]
                    return [((record.key or b"").decode(), record.partition) for record in left]
            assert deadline.passed_s < 2 * deadline.allowed_s, "the broker does not answer"
            time.sleep(0.3)

    def _indexer_url(self) -> str | None:
        try:
            return self.cluster.url("indexer", timeout_s=INDEXER_S)
        except AssertionError:
            return None

    def close(self) -> None:
        """End the workers; topics and keyspace go."""
        with ExitStack() as stack:  # whatever one of them says, the others are closed
            stack.callback(shutil.rmtree, self._home, ignore_errors=True)
            stack.callback(cassandra_keyspace.drop, self._store_url)
            stack.callback(self._store.close)
            stack.callback(self.admin.close)
            stack.callback(self._producer.close)
            stack.callback(self.cluster.stop)


def _retry_late(record: Record, deadline: Deadline) -> bool:
    return deadline.retry_over(record.timestamp_ms + 1000 * DELAYS_S[record.partition.topic])


def _by_place(left: list[tuple[str, Partition]], still: Still) -> list[str]:
    """How much is left in each partition, and for how long nothing has been done there: stalled, or only slow."""
    now = time.monotonic()
    counts = Counter(partition for _, partition in left)
    return [
        f"{place.topic}-{place.number}: {count} events are left, none was done for {now - still[place][1]:.0f} s"
        for place, count in counts.items()
    ]
