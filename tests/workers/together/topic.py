"""What the tests of occasions publish."""

from __future__ import annotations

import time

from schemas.envelope import cloud_event_headers
from schemas.occasions import OCCASION_TYPE, Occasion, encode_occasion
from schemas.topics import TOGETHER, TOPICS
from workers.streams import Stream, TopicSpec


def now_us() -> int:
    return time.time_ns() // 1000


def send(stream: Stream, *occasions: Occasion | tuple[str, bytes | None]) -> None:
    """Send occasions as a shop does, or bytes as they are under a key."""
    topic = next(topic for topic in TOPICS if topic.name == TOGETHER)
    admin = stream.admin()
    admin.ensure_topics([TopicSpec(topic.name, topic.partitions, False, topic.retention_ms)])
    admin.close()
    producer = stream.producer()
    for one in occasions:
        key, value = (one.occasion_id, encode_occasion(one)) if isinstance(one, Occasion) else one
        headers = cloud_event_headers(type_=OCCASION_TYPE, source="/tests", key=key)
        producer.send(TOGETHER, key.encode(), value, headers)
    producer.flush(30)
    producer.close()


def cart(name: str, *listing_ids: str, age_s: float = 60.0) -> Occasion:
    time_ = now_us() - int(age_s * 1_000_000)
    return Occasion(occasion_id=name, kind="cart", listing_ids=list(listing_ids), event_time=time_)
