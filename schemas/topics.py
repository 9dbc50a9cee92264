"""Every topic, once: its name, key, retention and owner. Partitions are chosen once, since keys are ordered by them."""

from __future__ import annotations

from typing import Literal

import msgspec

UPLOADED = "listings.uploaded"
DEAD_LETTERS = "listings.uploaded.dlq"
PREDICTIONS = "listings.predictions"
VERBATIM = "as in the source topic, verbatim"
HASHES_PREFIX = "listings.hashes."
RETRY_DELAYS_S = {"listings.uploaded.retry.30s": 30.0, "listings.uploaded.retry.10m": 600.0}

_DAY_MS = 24 * 3600 * 1000


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One topic; `name` of a per-epoch topic ends in `<epoch>`."""

    name: str
    key: str
    value: str
    """File name of the JSON Schema of the value, beside this module in `json/`; or VERBATIM."""
    retention_ms: int | None
    """None: kept for ever (compacted)."""
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
        about="created, updated and removed listings; the whole state each time",
    ),
    Topic(
        name="listings.uploaded.retry.30s",
        key="listing_id",
        value="listing_event.schema.json",
        retention_ms=7 * _DAY_MS,
        cleanup="delete",
        owner="ml platform",
        about="events whose failure may pass, due 30 s after their timestamp",
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
        about="events, or photos of events, given up; headers: dead_letter.schema.json",
    ),
    Topic(
        name=HASHES_PREFIX + "<epoch>",
        key="listing_id",
        value="hash_message.schema.json",
        retention_ms=None,
        cleanup="compact",
        owner="ml platform",
        about="the hash of every photo of a listing; the source of truth of an index; one topic an epoch",
    ),
    Topic(
        name=PREDICTIONS,
        key="listing_id",
        value="stored_listing.schema.json",
        retention_ms=None,
        cleanup="compact",
        owner="ml platform",
        about="optional: what the store holds, for consumers who would rather be told than ask",
    ),
)


def hash_topic(epoch: str) -> str:
    """The hash topic of an epoch."""
    return HASHES_PREFIX + epoch


def topics_for(epoch: str) -> tuple[Topic, ...]:
    """TOPICS with the per-epoch name filled in."""
    return tuple(msgspec.structs.replace(topic, name=topic.name.replace("<epoch>", epoch)) for topic in TOPICS)


def source_topics() -> tuple[str, ...]:
    """What a tagger consumes: the uploads and their retries."""
    return (UPLOADED, *RETRY_DELAYS_S)
