"""Topics and offsets of a Kafka cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from kafka import TopicPartition, errors  # type: ignore[import-untyped]
from kafka.admin import KafkaAdminClient, OffsetSpec  # type: ignore[import-untyped]

from schemas.errors import ConfigError, Transient
from workers.streams.base import Partition, Record, TopicSpec
from workers.streams.kafka._connect import meaning, open_client
from workers.streams.kafka._reader import Reader
from workers.streams.kafka._settings import KafkaSettings
from workers.streams.kafka._topics import await_topics, check, creation, describe, set_retention

_PATIENCE_S = 10.0  # long enough for a coordinator to move and for a broker to restart
_AGAIN_AFTER_S = 0.2
_CREATE_TRIES = 3
# How much is fetched from each partition to read its first record. A larger batch takes a request of its own. 24
# partitions of busy topics cost 55 ms of a core with 16 KiB, 25 ms with 64 KiB, and 35 ms with 160 KiB.
_LOOK_BYTES = 64 * 1024
_REFUSALS = (errors.InvalidReplicationFactorError, errors.InvalidConfigurationError, errors.PolicyViolationError)

Answer = TypeVar("Answer")


class KafkaAdmin:
    """Implements `StreamAdmin` for Kafka. Thread-safe."""

    def __init__(self, *, settings: KafkaSettings, worker: str) -> None:
        """Connect. Raises ConfigError or Transient."""
        self._settings = settings
        self._worker = worker
        self._lock = threading.Lock()
        self._partitions: dict[str, int] = {}  # by topic; constant, because it decides where keys go
        self._idle: Reader | None = None
        self._looking = threading.Lock()
        self._looker: Reader | None = None  # for `timestamps_ms`
        self._client: Any = self._open()

    def ensure_topics(self, topics: Sequence[TopicSpec]) -> None:
        """See the interface. Existing topics are checked before any topic is created."""
        if not topics:
            return
        try:
            for _ in range(_CREATE_TRIES):
                if self._ask("creating topics", lambda client: self._ensure(client, topics)):
                    return
        except _Refused as refused:
            raise ConfigError(
                f"topics: the brokers refuse to create them: {refused}; correct replicas= in stream.url"
            ) from None
        raise Transient("stream", "topics_in_flux", "another process is creating or removing topics; try again")

    def set_retention(self, topic: str, retention_ms: int) -> None:
        """See the interface."""
        self._ask(f"changing {topic}", lambda client: set_retention(client, topic, retention_ms))

    def topics(self) -> frozenset[str]:
        """See the interface. Topics that this user may not see are absent."""
        return self._ask("listing topics", lambda client: frozenset(client.list_topics()))

    def end_offsets(self, topic: str) -> dict[Partition, int]:
        """See the interface. Raises ConfigError for an unknown topic."""
        return self._ask(f"asking for the end of {topic}", lambda client: self._ends(client, [topic]))

    def probe(self, topic: str) -> None:
        """See the interface. A broker without room ends, so it does not answer."""
        self.end_offsets(topic)

    def committed(self, group: str, topic: str) -> dict[Partition, int]:
        """See the interface."""

        def ask(client: Any) -> dict[Partition, int]:
            places = self._places(client, topic)
            found = client.list_group_offsets({group: places})[group]
            return {
                Partition(place.topic, place.partition): entry.offset
                for place, entry in found.items()
                if place.topic == topic and entry.offset >= 0
            }

        return self._ask(f"asking for offsets of {group}", ask)

    def timestamps_ms(self, positions: Mapping[Partition, int]) -> dict[Partition, int]:
        """See the interface. It asks once for the ends, then fetches a little of each partition that has records."""
        topics = sorted({partition.topic for partition in positions})
        if not topics:
            return {}
        ends = self._ask(f"asking for the end of {', '.join(topics)}", lambda client: self._ends(client, topics))
        with self._looking:
            looker, self._looker = self._looker, None
            looker = looker or Reader(self._settings, self._worker, max_partition_fetch_bytes=_LOOK_BYTES)
            try:
                found = looker.first_timestamps_ms(ends, positions)
            except BaseException:
                looker.close()
                raise
            self._looker = looker
        return found

    def read(self, topic: str, start: Mapping[Partition, int] | None = None) -> Iterator[Record]:
        """See the interface. Raises Transient during the reading if a broker does not answer."""
        ends = self.end_offsets(topic)
        return self._records(ends, dict(start or {}))

    def close(self) -> None:
        """See the interface."""
        with self._lock:
            self._drop()
            idle, self._idle = self._idle, None
        with self._looking:
            looker, self._looker = self._looker, None
        for reader in (idle, looker):
            if reader is not None:
                reader.close()

    def _records(self, ends: Mapping[Partition, int], start: Mapping[Partition, int]) -> Iterator[Record]:
        with self._lock:
            reader, self._idle = self._idle, None
        reader = reader or Reader(self._settings, self._worker)
        sound = False
        try:
            yield from reader.read(ends, start)
            sound = True
        finally:
            with self._lock:
                keep = sound and self._idle is None and self._client is not None
                if keep:
                    self._idle = reader
            if not keep:
                reader.close()

    def _ends(self, client: Any, topics: Sequence[str]) -> dict[Partition, int]:
        places = [place for topic in topics for place in self._places(client, topic)]
        found = client.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST))
        return {Partition(place.topic, place.partition): found[place].offset for place in places}

    def _places(self, client: Any, topic: str) -> list[Any]:
        if topic not in self._partitions:
            self._partitions[topic] = await_topics(client, [topic])[topic].partitions
        return [TopicPartition(topic, number) for number in range(self._partitions[topic])]

    def _ensure(self, client: Any, topics: Sequence[TopicSpec]) -> bool:
        present = describe(client, [spec.name for spec in topics])
        for spec in topics:
            if spec.name in present:
                check(spec, present[spec.name])
        missing = [spec for spec in topics if spec.name not in present]
        if not missing:
            return True
        brokers = len(client.describe_cluster()["brokers"])
        try:
            client.create_topics(creation(missing, brokers, self._settings.replicas), wait_for_metadata=True)
        except errors.TopicAlreadyExistsError:
            return False  # another process created it: check what it created
        except _REFUSALS as error:
            raise _Refused(str(error)) from None
        return True

    def _ask(self, doing: str, question: Callable[[Any], Answer]) -> Answer:
        """Ask a question, and repeat it with a new client if the error may pass. Raises ConfigError or Transient."""
        deadline = time.monotonic() + _PATIENCE_S
        with self._lock:
            while True:
                try:
                    if self._client is None:
                        self._client = self._open()
                    return question(self._client)
                except errors.UnknownTopicOrPartitionError:
                    self._partitions.clear()  # the topic was removed: look it up again
                    self._pause_or_raise(errors.UnknownTopicOrPartitionError(doing), doing, deadline)
                except errors.KafkaError as error:
                    self._drop()
                    self._pause_or_raise(error, doing, deadline)

    def _pause_or_raise(self, error: errors.KafkaError, doing: str, deadline: float) -> None:
        if not isinstance(error, errors.RetriableError) or time.monotonic() >= deadline:
            raise meaning(error, self._settings, doing) from error
        time.sleep(_AGAIN_AFTER_S)

    def _open(self) -> Any:
        client, _ = open_client(KafkaAdminClient, self._settings, client_id=self._worker)
        return client

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()


class _Refused(Exception):
    """The brokers refuse to create a topic."""
