"""What the tests of indexer and search publish, and a naive twin of the index to compare with."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from schemas.envelope import cloud_event_headers
from schemas.hashes import EVENT_TIME_HEADER, HASH_TYPE, HashMessage, ImageHash, encode_hashes
from schemas.topics import hash_topic, topics_for
from workers.streams import Stream, TopicSpec, build_stream
from workers.streams.embedded._log import OFFSET_BITS

EPOCH = "0123456789ab"
TOPIC = hash_topic(EPOCH)
BASE_US = 1_790_000_000_000_000


def stream_at(home: Path) -> Stream:
    return build_stream(f"sqlite://{home}/stream.db", "tests")


def ensure_topic(stream: Stream, epoch: str) -> None:
    admin = stream.admin()
    topic = next(topic for topic in topics_for(epoch) if topic.name == hash_topic(epoch))
    admin.ensure_topics([TopicSpec(topic.name, topic.partitions, True, topic.retention_ms)])
    admin.close()


def replaced(home: Path, topic: str, anew: Callable[[], object]) -> None:
    """Empty a topic of `stream_at(home)`, so that its offsets begin at 0 again, and call `anew` to write to it."""
    with closing(sqlite3.connect(home / "stream.db", timeout=30)) as db, db:
        ids = [row[0] for row in db.execute("SELECT id FROM partitions WHERE topic = ?", (topic,))]
        for one in ids:
            db.execute("DELETE FROM records WHERE position >> ? = ?", (OFFSET_BITS, one))
            db.execute("DELETE FROM last_of_key WHERE partition = ?", (one,))
            db.execute("UPDATE partitions SET next_offset = 0 WHERE id = ?", (one,))
    anew()


def random_hash(rng: random.Random) -> str:
    return f"{rng.getrandbits(256):064x}"


def message(listing_id: str, time: int, hashes: dict[str, str], **fields: object) -> HashMessage:
    values: dict[str, object] = {
        "listing_id": listing_id,
        "event_time": BASE_US + time,
        "epoch": EPOCH,
        "model_version": "tiny-1",
        "state": "active",
        "category": None,
        "images": [ImageHash(image_id=i, hash=h) for i, h in hashes.items()],
    }
    return HashMessage(**(values | fields))  # type: ignore[arg-type]


class Publisher:
    """Publishes as the tagger does; a context manager."""

    def __init__(self, stream: Stream, epoch: str = EPOCH) -> None:
        ensure_topic(stream, epoch)
        self._topic = hash_topic(epoch)
        self._producer = stream.producer()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.close()

    def put(self, what: HashMessage, uploaded_us: int | None = None) -> None:
        self.raw(what.listing_id, encode_hashes(what), what.event_time, uploaded_us)

    def remove(self, listing_id: str, time: int) -> None:
        self.raw(listing_id, None, BASE_US + time)

    def raw(self, key: str, value: bytes | None, event_time: int | None, uploaded_us: int | None = None) -> None:
        headers = cloud_event_headers(type_=HASH_TYPE, source="/tests", key=key, time_us=uploaded_us)
        if event_time is not None:
            headers = (*headers, (EVENT_TIME_HEADER, str(event_time).encode()))
        self._producer.send(self._topic, key.encode(), value, headers)

    def flush(self) -> None:
        self._producer.flush(30)


class Naive:
    """Every listing's newest state in a dictionary; a search looks at all of it, bit by bit."""

    def __init__(self) -> None:
        self.listings: dict[str, tuple[int, dict[str, str]]] = {}
        self.removed: dict[str, int] = {}

    def put(self, what: HashMessage) -> None:
        held = self.listings.get(what.listing_id, (0, {}))[0]
        if what.event_time > self.removed.get(what.listing_id, 0) and what.event_time >= held:
            self.listings[what.listing_id] = (what.event_time, {i.image_id: i.hash for i in what.images})

    def remove(self, listing_id: str, time: int) -> None:
        if BASE_US + time >= self.listings.get(listing_id, (0, {}))[0]:
            self.listings.pop(listing_id, None)
            self.removed[listing_id] = max(self.removed.get(listing_id, 0), BASE_US + time)

    def photos(self) -> list[tuple[str, str, str]]:
        return [(listing, image, h) for listing, (_, held) in self.listings.items() for image, h in held.items()]

    def nearest(self, query: str, k: int) -> list[dict[str, object]]:
        ranked = sorted(
            (bin(int(query, 16) ^ int(h, 16)).count("1"), listing, image) for listing, image, h in self.photos()
        )
        return [{"listing_id": one, "image_id": image, "distance": d} for d, one, image in ranked[:k]]
