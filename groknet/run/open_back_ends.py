"""Opens the stream and the store of a home for a command, and creates missing topics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from groknet.home.config import Loaded
from schemas.topics import HASHES_PREFIX, TOPICS, Topic, topics_for
from workers.stores import Store, build_store
from workers.streams import Stream, TopicSpec, build_stream


@contextmanager
def open_stream(loaded: Loaded, member: str) -> Iterator[Stream]:
    """The stream of a configuration. The topics that every home has exist in it."""
    stream = build_stream(loaded.config.stream.url, member)
    make_topics(stream, [topic for topic in TOPICS if not topic.name.startswith(HASHES_PREFIX)])
    yield stream


@contextmanager
def open_store(loaded: Loaded) -> Iterator[Store]:
    """The store of a configuration. It is closed at the end of the block."""
    store = build_store(loaded.config.store.url)
    try:
        yield store
    finally:
        store.close()


def make_epoch_topics(stream: Stream, epoch: str) -> None:
    """Create every missing topic that a worker of this epoch reads or writes. Raises ConfigError as `make_topics`."""
    make_topics(stream, topics_for(epoch))


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
