"""Kill -9 at 20 random points, workers in turn, while 500 listings stream: nothing lost, nothing wrong."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from engines.detection import open_detector
from engines.recognition import build_engine
from groknet.run.open_back_ends import make_topics
from schemas.events import encode_event
from schemas.manifest import DETECTOR_FOLDER
from schemas.topics import UPLOADED, source_topics, topics_for
from tests.detectors import with_bright_detector
from tests.faults.cluster import Cluster
from tests.faults.oracle import Oracle, Verdict
from tests.faults.workload import studio_jpegs, workload
from workers.stages.detect import Looking
from workers.stores import build_store
from workers.streams import build_stream

pytestmark = pytest.mark.slow

BUNDLE = Path(__file__).parents[2] / "training" / "bundles" / "demo"
WORKERS = ("tagger", "indexer", "tagger", "search")  # in turn; the tagger has most to lose
SETTLE_S = 120.0


@pytest.fixture(scope="module")
def photos() -> list[bytes]:
    return studio_jpegs(60)


def run_schedule(
    home: Path, photos: list[bytes], *, listings: int, kills: int, seed: int, bundle: Path = BUNDLE
) -> Verdict:
    """Send the workload in `kills` portions, kill one worker at a random moment after each, and judge the end."""
    rng = random.Random(seed)
    engine = build_engine(bundle)
    looking = Looking.of(
        engine.manifest, open_detector(bundle / DETECTOR_FOLDER) if engine.manifest.detection else None
    )
    events = workload(listings, photos, seed)
    stream, store = build_stream(f"sqlite:///{home}/stream.db", "faults"), build_store(f"sqlite:///{home}/store.db")
    make_topics(stream, topics_for(engine.manifest.epoch))
    # on busy cores a kill may meet an event thrice, which would be a dead letter: here the test kills, not a photo
    cluster = Cluster(home, bundle=bundle, environment={"GROKNET__TAGGER__MAX_ATTEMPTS": "20"})
    for worker in ("tagger", "indexer", "search"):
        cluster.start(worker)
    producer, admin = stream.producer(), stream.admin()
    try:
        for worker in ("tagger", "indexer"):
            cluster.url(worker)
        portion = -(-len(events) // kills)
        for i in range(kills):
            for event in events[i * portion : (i + 1) * portion]:
                producer.send(UPLOADED, event.listing_id.encode(), encode_event(event))
            producer.flush(30)
            victim = WORKERS[i % len(WORKERS)]
            cluster.url(victim)  # each life works for a while: a kill during the start alone would prove little
            time.sleep(rng.uniform(0.0, 0.8))
            cluster.kill(victim)
        _until_committed(admin)
        oracle = Oracle(engine, events, looking=looking)
        return _judge(oracle, cluster, stream, store)
    finally:
        codes = cluster.stop()
        producer.close()
        admin.close()
        store.close()
        assert set(codes.values()) == {0}, (codes, cluster.tail())


def _until_committed(admin) -> None:
    """Until nothing waits: on busy cores an event may time out, and comes again half a minute later."""
    deadline = time.monotonic() + SETTLE_S
    while waiting := [topic for topic in source_topics() if _behind(admin, topic)]:
        if time.monotonic() > deadline:
            raise AssertionError(f"the tagger did not come to the end of {waiting}")
        time.sleep(0.2)


def _behind(admin, topic: str) -> bool:
    done = admin.committed("tagger", topic)
    return any(done.get(partition, 0) < end for partition, end in admin.end_offsets(topic).items())


def _judge(oracle: Oracle, cluster: Cluster, stream, store) -> Verdict:
    """The index follows within seconds; what still differs after that is a finding."""
    deadline = time.monotonic() + 15
    while True:
        verdict = oracle.judge(stream=stream, store=store, indexer_url=cluster.url("indexer"))
        if verdict.clean or time.monotonic() > deadline:
            return verdict
        time.sleep(1)


@pytest.mark.timeout(400)
def test_twenty_kills_lose_nothing(tmp_path: Path, photos: list[bytes]) -> None:
    verdict = run_schedule(tmp_path, photos, listings=500, kills=20, seed=1)
    assert verdict.clean, str(verdict)


@pytest.mark.timeout(400)
def test_kills_lose_no_box(tmp_path: Path, photos: list[bytes]) -> None:
    """With a detector, a photo has several rows, hashes and entries of the index. Each is there in the end, and none
    twice."""
    bundle = with_bright_detector(BUNDLE, tmp_path)
    verdict = run_schedule(tmp_path, photos[:20], listings=60, kills=4, seed=3, bundle=bundle)
    assert verdict.clean, str(verdict)
