"""A home with a stream that no worker reads."""

from __future__ import annotations

import sqlite3
from datetime import datetime

import msgspec

from groknet.diagnosis.whereabouts import Stored
from groknet.home.paths import Home
from schemas.envelope import Headers
from schemas.topics import RETRY_DELAYS_S
from workers.streams import Partition, RebalanceListener, Record, Stream

SHORT, LONG = RETRY_DELAYS_S


TIMED_OUT: Headers = (("groknet.attempt", b"2"), ("groknet.retry.error", b"fetch: timeout"))


class Flow:
    """A home with a stream."""

    def __init__(self, home: Home, stream: Stream) -> None:
        self.home = home
        self.stream = stream
        self.admin = stream.admin()
        self._producer = stream.producer()

    def send(
        self, topic: str, listing_id: str, *, key: bool = True, headers: Headers = (), event_time: int = 1
    ) -> None:
        value = msgspec.json.encode({"listing_id": listing_id, "event_time": event_time, "images": []})
        self._producer.send(topic, listing_id.encode() if key else None, value, headers).wait(10)

    def records(self, topic: str) -> list[Record]:
        return sorted(self.admin.read(topic), key=lambda record: (record.partition, record.offset))

    def commit(self, group: str, topic: str, offsets: dict[Partition, int]) -> None:
        consumer = self.stream.consumer(group, [topic], RebalanceListener())
        while not consumer.poll(0.1, 1000):
            pass
        consumer.commit(offsets)
        consumer.close()

    def spread(self, topic: str, stamps: dict[tuple[int, int], int]) -> None:
        """Let records be of other times: (partition, offset) to UTC milliseconds."""
        with sqlite3.connect(self.home.root / "stream.db") as db:
            ids = dict(db.execute("SELECT number, id FROM partitions WHERE topic = ?", (topic,)).fetchall())
            for (number, offset), stamp in stamps.items():
                position = (ids[number] << 40) + offset
                db.execute("UPDATE records SET timestamp_ms = ? WHERE position = ?", (stamp, position))
        db.close()

    def close(self) -> None:
        self._producer.close()
        self.admin.close()


def clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%H:%M:%S")


NOW = 1_760_000_000.0


COMPLETE = Stored(status="complete", event_time=int((NOW - 100) * 1e6), model_version="m1", stored_at=int(NOW * 1e6))
