"""Every topic: name, key, retention and owner. The number of partitions never changes, because it orders keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

UPLOADED = "listings.uploaded"
DEAD_LETTERS = "listings.uploaded.dlq"
PREDICTIONS = "listings.predictions"
PRODUCTS = "listings.products"
TOGETHER = "listings.together"
TOGETHER_DAYS = 90
"""How long an occasion counts: until the topic deletes it."""
VERBATIM = "as in the source topic, verbatim"
HASHES_PREFIX = "listings.hashes."
RETRY_DELAYS_S = {"listings.uploaded.retry.30s": 30.0, "listings.uploaded.retry.10m": 600.0}
AFTER_FAILURE = frozenset({DEAD_LETTERS, *RETRY_DELAYS_S})
"""The topics of failed events. Their retention is a setting; see `with_retention`."""

_DAY_MS = 24 * 3600 * 1000


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One topic. The name of a topic for each epoch ends in `<epoch>`."""

    name: str
    key: str
    value: str
    """File name of the value's JSON Schema in `json/`, or VERBATIM."""
    retention_ms: int | None
    """None keeps messages for ever (compacted)."""
    cleanup: Literal["delete", "compact"]
    owner: str
    partitions: int = 8
    about: str = ""


TOPICS: tuple[Topic, ...] = (
    Topic(
        name=UPLOADED,
        key="listing_id",
        value="listing_event.schema.json",
        retention_ms=7 * _DAY_MS,
        cleanup="delete",
        owner="marketplace listings team",
        about="created, updated and removed listings, each with its whole state",
    ),
    Topic(
        name="listings.uploaded.retry.30s",
        key="listing_id",
        value="listing_event.schema.json",
        retention_ms=7 * _DAY_MS,
        cleanup="delete",
        owner="ml platform",
        about="events that may succeed later, due 30 s after their timestamp",
    ),
    Topic(
        name="listings.uploaded.retry.10m",
        key="listing_id",
        value="listing_event.schema.json",
        retention_ms=7 * _DAY_MS,
        cleanup="delete",
        owner="ml platform",
        about="events that failed again, due 10 minutes after their timestamp",
    ),
    Topic(
        name=DEAD_LETTERS,
        key=VERBATIM,
        value=VERBATIM,
        retention_ms=30 * _DAY_MS,
        cleanup="delete",
        owner="ml platform",
        about="events, or photos of events, that were given up; headers: dead_letter.schema.json",
    ),
    Topic(
        name=HASHES_PREFIX + "<epoch>",
        key="listing_id",
        value="hash_message.schema.json",
        retention_ms=None,
        cleanup="compact",
        owner="ml platform",
        about="the hashes of all photos of a listing; the source of truth of an index; one topic for each epoch",
    ),
    Topic(
        name=PREDICTIONS,
        key="listing_id",
        value="stored_listing.schema.json",
        retention_ms=None,
        cleanup="compact",
        owner="ml platform",
        about="optional: what the store holds, for consumers that prefer messages to queries",
    ),
    Topic(
        name=TOGETHER,
        key="occasion_id",
        value="occasion.schema.json",
        retention_ms=TOGETHER_DAYS * _DAY_MS,
        cleanup="delete",
        owner="marketplace listings team",
        about="listings that were together in a cart, a view or a scene; a tombstone withdraws an occasion",
    ),
    Topic(
        name=PRODUCTS,
        key="listing_id",
        value="product_message.schema.json",
        retention_ms=None,
        cleanup="compact",
        owner="ml platform",
        about="optional: the product of each listing, from a worker `products`; a tombstone says that it has none",
    ),
)


def with_retention(topics: Sequence[Topic], *, dead_letters_days: int, retries_days: int) -> tuple[Topic, ...]:
    """The topics with other retentions, in days, of the dead letters and of the retries. The other topics stay."""
    days = {DEAD_LETTERS: dead_letters_days, **dict.fromkeys(RETRY_DELAYS_S, retries_days)}
    return tuple(
        msgspec.structs.replace(topic, retention_ms=days[topic.name] * _DAY_MS) if topic.name in days else topic
        for topic in topics
    )


def hash_topic(epoch: str) -> str:
    """Return the hash topic of an epoch."""
    return HASHES_PREFIX + epoch


def topics_for(epoch: str) -> tuple[Topic, ...]:
    """Return TOPICS with `<epoch>` filled in."""
    return tuple(msgspec.structs.replace(topic, name=topic.name.replace("<epoch>", epoch)) for topic in TOPICS)


def source_topics() -> tuple[str, ...]:
    """Return the topics that a tagger reads: uploads and their retries."""
    return (UPLOADED, *RETRY_DELAYS_S)
