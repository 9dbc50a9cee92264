"""Where schedules take place: topics, a keyspace, two taggers and an indexer on real servers, and what was sent there.

Kept from one schedule to the next, since starting workers takes longer than all that is done to them.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from deploy.local import Services
from engines.recognition import RecognitionEngine
from groknet.ports import make_epoch_topics
from schemas.errors import GroknetError
from schemas.events import ListingEvent, encode_event
from schemas.manifest import load_manifest
from schemas.topics import UPLOADED, source_topics
from tests.contract import cassandra_keyspace
from tests.faults import servers
from tests.faults.cluster import Cluster
from tests.faults.oracle import Oracle, Truth, Verdict
from tests.faults.poison import judge_dead_letters
from workers.stores import build_store
from workers.streams import build_stream
from workers.streams.base import StreamAdmin

TAGGERS = ("tagger-a", "tagger-b")
WORKERS = (*TAGGERS, "indexer")
SETTLE_S = 180.0 * servers.SLOWNESS
JUDGE_S = 20.0 * servers.SLOWNESS
SEND_S = 60.0 * servers.SLOWNESS
RETRIES = Path(__file__).with_name("quick_retries.py")
ENVIRONMENT = {
    "GROKNET__ENGINE__THREADS": "1",  # two taggers, two servers and an indexer share the cores
    "GROKNET__TAGGER__IN_PLACE_TRIES": "8",  # some 9 s: most restarts are waited out, some become retries
    "GROKNET__TAGGER__MAX_ATTEMPTS": "20",  # here the harness kills, not a photo
}
ENVIRONMENT_OF = {"tagger-b": {"GROKNET__TAGGER__DECODE_PROCESSES": "1"}}  # the others decode in threads


class Town:
    """Workers that run, and all events that they were sent."""

    def __init__(self, services: Services, bundle: Path) -> None:
        """Everything new: topics, keyspace, homes; the workers are started."""
        servers.remove_topics(services)
        self.services = services
        self.schedules = 0
        self._events: list[ListingEvent] = []
        self._store_url, stream_url = servers.fresh_store_url(services), servers.stream_url(services)
        self._stream, self._store = build_stream(stream_url, "faults"), build_store(self._store_url)
        make_epoch_topics(self._stream, load_manifest(bundle).epoch)
        self._producer, self._admin = self._stream.producer(), self._stream.admin()
        self._home = Path(tempfile.mkdtemp(prefix="groknet-faults-"))
        environment = ENVIRONMENT | {"GROKNET__STREAM__URL": stream_url, "GROKNET__STORE__URL": self._store_url}
        self.cluster = Cluster(
            self._home,
            bundle=bundle,
            tagger_script=RETRIES,
            environment=environment,
            environment_of=ENVIRONMENT_OF,
        )
        for worker in WORKERS:
            self.cluster.start(worker)

    def settle_in(self) -> None:
        """One more schedule takes place here; returns when every worker is ready for it."""
        self.schedules += 1
        for worker in WORKERS:
            self.cluster.url(worker, revive=True)

    def send(self, events: list[ListingEvent]) -> None:
        """Send durably, again where a broker was away for too long: events that come twice are part of the trial."""
        self._events += events
        deadline = time.monotonic() + SEND_S
        while True:
            try:
                for event in events:
                    self._producer.send(UPLOADED, event.listing_id.encode(), encode_event(event))
                self._producer.flush(SEND_S)
                return
            except GroknetError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def until_committed(self) -> None:
        """Until the taggers have committed all, retries included. Raises AssertionError when they do not get there."""
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            self.cluster.revive()
            try:
                if all(_committed(self._admin, topic) for topic in source_topics()):
                    return
            except GroknetError:
                pass  # a broker that has just come back
            time.sleep(0.1)
        raise AssertionError(f"not everything was committed within {SETTLE_S} s; {self.cluster.tail()}")

    def judge(self, engine: RecognitionEngine, truth: Truth) -> Verdict:
        """Compare with all that was ever sent here; the index is given the seconds that it may take."""
        oracle, deadline = Oracle(engine, self._events, truth), time.monotonic() + JUDGE_S
        while True:
            url = self.cluster.url("indexer", revive=True)
            verdict = oracle.judge(stream=self._stream, store=self._store, indexer_url=url)
            judge_dead_letters(self._events, self._stream, verdict)
            if verdict.clean or time.monotonic() > deadline:
                return verdict
            time.sleep(0.2)

    def close(self) -> None:
        """End the workers; topics and keyspace go."""
        with ExitStack() as stack:  # whatever one of them says, the others are closed
            stack.callback(shutil.rmtree, self._home, ignore_errors=True)
            stack.callback(cassandra_keyspace.drop, self._store_url)
            stack.callback(self._store.close)
            stack.callback(self._admin.close)
            stack.callback(self._producer.close)
            stack.callback(self.cluster.stop)


def _committed(admin: StreamAdmin, topic: str) -> bool:
    ends, done = admin.end_offsets(topic), admin.committed("tagger", topic)
    return all(done.get(partition, 0) >= end for partition, end in ends.items())
