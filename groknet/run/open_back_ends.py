"""Opens the stream and the store of a home for a command, and creates missing topics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from groknet.home.config import Loaded
from schemas.topics import AFTER_FAILURE, HASHES_PREFIX, TOPICS, Topic, topics_for, with_retention
from workers.stores import Store, build_store
from workers.streams import Stream, TopicSpec, build_stream


@contextmanager
def open_stream(loaded: Loaded, member: str) -> Iterator[Stream]:
    """The stream of a configuration. The topics that every home has exist in it."""
    stream = build_stream(loaded.config.stream.url, member)
    make_topics(stream, wanted_topics(loaded))
    yield stream


@contextmanager
def open_store(loaded: Loaded) -> Iterator[Store]:
    """The store of a configuration. It is closed at the end of the block."""
    store = build_store(loaded.config.store.url, inline_photos_s=loaded.config.store.keep_inline_photos_s)
    try:
        yield store
    finally:
        store.close()


def wanted_topics(loaded: Loaded, epoch: str | None = None) -> tuple[Topic, ...]:
    """The topics of a home, with the retention that its configuration says: those of an epoch, or those that every home
    has."""
    topics = [topic for topic in TOPICS if not topic.name.startswith(HASHES_PREFIX)]
    return with_retention(
        topics if epoch is None else topics_for(epoch),
        dead_letters_days=loaded.config.stream.keep_dead_letters_days,
        retries_days=loaded.config.stream.keep_retries_days,
    )


def make_topics(stream: Stream, topics: list[Topic] | tuple[Topic, ...]) -> None:
    """Create the missing topics. Raises ConfigError if an existing topic differs from `schemas.topics`."""
    admin = stream.admin()
    try:
        admin.ensure_topics(
            [
                TopicSpec(
                    name=topic.name,
                    partitions=topic.partitions,
                    compacted=topic.cleanup == "compact",
                    retention_ms=topic.retention_ms,
                )
                for topic in topics
            ]
        )
    finally:
        admin.close()


def set_retention(stream: Stream, topics: Sequence[Topic]) -> None:
    """Give the dead-letter topic and the retry topics, those of them that exist, the retention of `topics`.

    Raises ConfigError if the brokers refuse it."""
    admin = stream.admin()
    try:
        present = admin.topics()
        for topic in topics:
            if topic.name in AFTER_FAILURE & present and topic.retention_ms is not None:
                admin.set_retention(topic.name, topic.retention_ms)
    finally:
        admin.close()
