"""The oracle is itself tested: of four planted bugs it names each, and without one it finds nothing.

Each workload makes its bug bite: what must come first is committed before the rest is sent.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.recognition import RecognitionEngine, build_engine
from groknet.run.open_back_ends import make_topics
from schemas.events import ImageRef, ListingEvent, encode_event
from schemas.topics import UPLOADED, topics_for
from tests.faults.cluster import Cluster
from tests.faults.oracle import Oracle, Verdict
from tests.faults.poison import POISON, judge_dead_letters
from tests.faults.workload import FIRST_US, studio_jpegs
from workers.stores import build_store
from workers.streams import build_stream

pytestmark = pytest.mark.slow

BUNDLE = Path(__file__).parents[2] / "training" / "bundles" / "demo"
PLANTED = Path(__file__).with_name("planted")
PATIENCE_S = 60.0
LISTINGS = 6

Waves = list[list[ListingEvent]]


class House:
    """One tagger and one indexer on embedded back ends."""

    def __init__(self, home: Path, bug: str | None) -> None:
        self.engine: RecognitionEngine = build_engine(BUNDLE)
        self.stream = build_stream(f"sqlite:///{home}/stream.db", "planted")
        self.store = build_store(f"sqlite:///{home}/store.db")
        make_topics(self.stream, topics_for(self.engine.manifest.epoch))
        self.producer, self.admin = self.stream.producer(), self.stream.admin()
        self.cluster = Cluster(home, bundle=BUNDLE, tagger_script=PLANTED / f"{bug}.py" if bug else None)
        for worker in ("tagger", "indexer"):
            self.cluster.start(worker)

    def send(self, events: list[ListingEvent]) -> None:
        for event in events:
            self.producer.send(UPLOADED, event.listing_id.encode(), encode_event(event))
        self.producer.flush(PATIENCE_S)

    def committed(self) -> int:
        return sum(self.admin.committed("tagger", UPLOADED).values())

    def until_committed(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while self.committed() < count:
            assert time.monotonic() < deadline, self.cluster.tail()
            time.sleep(0.02)

    def judge(self, events: list[ListingEvent], *, patient: bool) -> Verdict:
        """What the oracle says; the index of a right tagger is given the seconds that it may take."""
        oracle, deadline = Oracle(self.engine, events), time.monotonic() + (15 if patient else 0)
        while True:
            verdict = oracle.judge(stream=self.stream, store=self.store, indexer_url=self.cluster.url("indexer"))
            judge_dead_letters(events, self.stream, verdict)
            if verdict.clean or time.monotonic() > deadline:
                return verdict
            time.sleep(0.2)

    def close(self) -> None:
        self.cluster.stop()
        self.producer.close()
        self.admin.close()
        self.store.close()


def listing(i: int, at_us: int, photos: list[bytes], kind: str = "created") -> ListingEvent:
    refs = [ImageRef(image_id=f"{at_us}-{n}", data=photo) for n, photo in enumerate(photos)]
    return ListingEvent(
        event_id=f"{i}-{at_us}", listing_id=f"planted/{i}", event_time=FIRST_US + at_us, type=kind, images=refs
    )


def waves(photos: list[bytes]) -> Waves:
    """Listings; then the removal of one, an older event of another, and a bad photo in a third."""
    first = [listing(i, 10, [photos[i], photos[i + 1]]) for i in range(LISTINGS)]
    removed = listing(0, 20, [], "removed")
    older = listing(1, 5, [photos[LISTINGS + 1]])
    spoilt = listing(2, 20, [photos[2], POISON], "updated")
    return [first, [removed, older, spoilt]]


@pytest.fixture(scope="module")
def photos() -> list[bytes]:
    return studio_jpegs(LISTINGS + 2)


@pytest.fixture
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    built = House(tmp_path, request.param)
    yield built
    built.close()


def run_waves(house: House, photos: list[bytes], *, patient: bool) -> Verdict:
    sent: list[ListingEvent] = []
    for wave in waves(photos):
        house.send(wave)
        sent += wave
        house.until_committed(len(sent))
    return house.judge(sent, patient=patient)


@pytest.mark.parametrize("house", [None], indirect=True)
def test_without_a_bug_the_oracle_finds_nothing(house: House, photos: list[bytes]) -> None:
    verdict = run_waves(house, photos, patient=True)
    assert verdict.clean, str(verdict)


@pytest.mark.parametrize(
    ("house", "kind", "named"),
    [
        ("skipped_tombstone", "wrong", "topic: planted/0"),
        ("older_wins", "wrong", "store: planted/1"),
        ("swallowed_dead_letter", "lost", "dead letter: planted/2/20-1"),
    ],
    indirect=["house"],
)
def test_the_oracle_names_a_planted_bug(house: House, photos: list[bytes], kind: str, named: str) -> None:
    verdict = run_waves(house, photos, patient=False)
    assert any(text.startswith(named) for text in getattr(verdict, kind)), str(verdict)


@pytest.mark.parametrize("house", ["early_commit"], indirect=True)
def test_the_oracle_names_what_an_early_commit_lost(house: House, photos: list[bytes]) -> None:
    events = [listing(i, 10, photos[:4]) for i in range(60)]
    house.send(events)
    house.until_committed(len(events))  # this tagger commits what it takes, seconds before the photos are computed
    house.cluster.kill("tagger")
    house.cluster.url("tagger")
    verdict = house.judge(events, patient=False)
    assert any(text.startswith("store: planted/") for text in verdict.lost), str(verdict)
