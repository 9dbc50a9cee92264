"""A tagger on embedded back ends and a tiny real bundle, in a thread of the test."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from engines.recognition import build_engine
from schemas.events import ImageRef, ListingEvent, encode_event
from schemas.topics import DEAD_LETTERS, RETRY_DELAYS_S, UPLOADED, hash_topic, topics_for
from tests.engines.tiny_bundle import write_tiny_bundle
from workers.http.serving import Health
from workers.intake import Intake, IntakeSettings
from workers.stores import Store, build_store
from workers.streams import Stream, build_stream
from workers.streams.base import Record, TopicSpec
from workers.tagger import GROUP, RETRY_GROUP, TaggerSettings, build_tagger

PATIENCE_S = 60.0
BASE_US = 1_700_000_000_000_000
"""UTC microseconds of time 0 of the test events."""


def jpeg(seed: int, size: tuple[int, int] = (64, 48)) -> bytes:
    """A photo of its own for every seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def event(listing: str, photos: Iterable[bytes | str], *, time_us: int = 1_000, **fields) -> ListingEvent:
    """An event at `BASE_US + time_us` whose photos are inline bytes or addresses; image ids count from 0."""
    refs = [
        ImageRef(image_id=str(i), url=photo) if isinstance(photo, str) else ImageRef(image_id=str(i), data=photo)
        for i, photo in enumerate(photos)
    ]
    values = {"event_id": f"{listing}@{time_us}", "type": "created"} | fields
    return ListingEvent(listing_id=listing, event_time=BASE_US + time_us, images=refs, **values)


def removal(listing: str, time_us: int) -> ListingEvent:
    return ListingEvent(event_id=f"{listing}-gone", listing_id=listing, event_time=BASE_US + time_us, type="removed")


class Rig:
    """Stream, store, engine of one folder; `tagger()` runs a tagger for the length of a with-block."""

    def __init__(
        self,
        home: Path,
        intake: IntakeSettings | None = None,
        *,
        stream: Stream | None = None,
        store: Store | None = None,
        **settings,
    ) -> None:
        """`stream`, `store`: others than the embedded ones."""
        self.home = home
        if not (home / "bundle").exists():
            write_tiny_bundle(home / "bundle")
        self.engine = build_engine(home / "bundle", threads=1)
        self.stream = stream or build_stream(f"sqlite:///{home}/stream.db", "rig")
        self.store = store or build_store(f"sqlite:///{home}/store.db")
        self.intake = Intake(intake or IntakeSettings())
        self.settings = TaggerSettings(
            **({"commit_interval_s": 0.05, "poll_timeout_s": 0.02, "watch_interval_s": 0.2} | settings)
        )
        self.admin = self.stream.admin()
        specs = [
            TopicSpec(t.name, t.partitions, t.cleanup == "compact", t.retention_ms) for t in topics_for(self.epoch)
        ]
        self.admin.ensure_topics(specs)
        self.producer = self.stream.producer()

    @property
    def epoch(self) -> str:
        return self.engine.manifest.epoch

    def send(self, *events: ListingEvent | bytes, topic: str = UPLOADED, headers=()) -> None:
        for one in events:
            raw = isinstance(one, bytes)
            key, value = (None, one) if raw else (one.listing_id.encode(), encode_event(one))
            self.producer.send(topic, key, value, headers)
        self.producer.flush(PATIENCE_S)

    def build(self, **parts):
        """A tagger of this rig; `parts` replace what it is wired from."""
        wired = {"stream": self.stream, "store": self.store, "engine": self.engine, "intake": self.intake}
        return build_tagger(self.settings, home=self.home, **({"health": Health()} | wired | parts))

    @contextmanager
    def tagger(self, **parts):
        """Run a tagger; on leaving it drains. `failure` of the yielded list holds what ended it early."""
        stop, failure = threading.Event(), []
        tagger = self.build(**parts)

        def run() -> None:
            try:
                tagger.run(stop)
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield failure
        finally:
            stop.set()
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def lag(self, *topics: str) -> int:
        """Uncommitted records of these topics; without any, of all source topics."""
        groups = {UPLOADED: GROUP, **dict.fromkeys(RETRY_DELAYS_S, RETRY_GROUP)}
        groups = {topic: groups[topic] for topic in topics or groups}
        ends = sum(sum(self.admin.end_offsets(topic).values()) for topic in groups)
        return ends - sum(sum(self.admin.committed(group, topic).values()) for topic, group in groups.items())

    def wait(self, failure=(), *topics: str) -> None:
        """Until everything sent, or all of these topics, is committed."""
        deadline = time.monotonic() + PATIENCE_S
        while self.lag(*topics):
            assert not failure, failure
            assert time.monotonic() < deadline, f"{self.lag(*topics)} records are still not committed"
            time.sleep(0.02)

    def wait_live(self, failure=()) -> None:
        """Until all uploads are committed; retries may wait for their time."""
        self.wait(failure, UPLOADED)

    def process(self, *events: ListingEvent | bytes) -> None:
        """Send, run a tagger until all is committed, drain it."""
        self.send(*events)
        with self.tagger() as failure:
            self.wait(failure)

    def dead_letters(self) -> list[Record]:
        return list(self.admin.read(DEAD_LETTERS))

    def hashes(self) -> dict[str, bytes | None]:
        """The compacted view of the hash topic."""
        return {(r.key or b"").decode(): r.value for r in self.admin.read(hash_topic(self.epoch))}

    def close(self) -> None:
        self.producer.close()
        self.admin.close()
        self.store.close()
        self.engine.close()
