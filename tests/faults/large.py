"""Events that are valid and yet larger than the dead-letter topic takes, once their producer's gzip is undone."""

from __future__ import annotations

import random

from kafka import KafkaProducer

from deploy.local import Services
from schemas.events import ImageRef, ListingEvent, encode_event
from schemas.topics import UPLOADED
from tests.faults.photo_host import LONGEST_AWAY_S, PhotoHost
from tests.faults.poison import POISON
from tests.faults.workload import FIRST_US

TOPIC_TAKES = 1_048_588 + 64 * 1024
"""Bytes of a record of the dead-letter topic and of the retry topics."""
_SEND_S = 60.0


def large_event(
    photos: list[bytes], listing_id: str, rng: random.Random, host: PhotoHost | None = None
) -> ListingEvent:
    """Three good photos and a broken one, each padded up to 450 KB behind its end, which no decoder reads.

    `host`: the first good photo comes by its URL and times out at first, so that the event goes through a retry.
    """
    good = rng.sample(photos, 3)
    images = [ImageRef(image_id=f"large-{n}", data=_padded(photo, rng)) for n, photo in enumerate(good)]
    images.insert(rng.randrange(4), ImageRef(image_id="broken", data=_padded(POISON, rng)))
    if host is not None:
        path = f"/{listing_id}/by-url.jpg"
        url = host.offer(path, good[0], away_s=LONGEST_AWAY_S, hangs=True)
        images.append(ImageRef(image_id="by-url", url=url))
    event = ListingEvent(event_id=listing_id, listing_id=listing_id, event_time=FIRST_US, type="created", images=images)
    assert len(encode_event(event)) > TOPIC_TAKES
    return event


def _padded(photo: bytes, rng: random.Random) -> bytes:
    return photo + bytes(rng.randint(380_000, 450_000) - len(photo))


def send_compressed(services: Services, events: list[ListingEvent]) -> None:
    """Send as a producer does that compresses: a few kilobytes on the wire and in the topic."""
    producer = KafkaProducer(
        bootstrap_servers=services.bootstrap, compression_type="gzip", max_request_size=16_000_000, acks="all"
    )
    try:
        sent = [producer.send(UPLOADED, encode_event(event), event.listing_id.encode()) for event in events]
        for future in sent:
            future.get(_SEND_S)
    finally:
        producer.close()
