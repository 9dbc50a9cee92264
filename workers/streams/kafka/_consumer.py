"""The consumer: a member of a Kafka group."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from kafka import KafkaConsumer as Client  # type: ignore[import-untyped]
from kafka import TopicPartition, errors
from kafka.coordinator.assignors.cooperative_sticky import (  # type: ignore[import-untyped]
    CooperativeStickyAssignor,
)
from kafka.structs import OffsetAndMetadata  # type: ignore[import-untyped]

from schemas.errors import Transient
from workers.streams._changes import Changes
from workers.streams.base import Partition, RebalanceListener, Record
from workers.streams.kafka._buffer import FairBuffer
from workers.streams.kafka._connect import REQUEST_TIMEOUT_S, open_client, translated
from workers.streams.kafka._fetching import FETCH_OPTIONS, record_of
from workers.streams.kafka._inherit import Inheritance
from workers.streams.kafka._rebalance import Kind, PollThread, Relay
from workers.streams.kafka._settings import KafkaSettings
from workers.streams.kafka._topics import require_topics

_REFILL_RECORDS = 500
_LOOK_EVERY_S = 0.1  # how often the client is polled for rebalances while the buffer has enough records
_HEARTBEATS_A_SESSION = 10
_MAX_HEARTBEAT_S = 3.0  # a rebalance waits until each member's next heartbeat
_CLOSE_TIMEOUT_S = 5.0
_VERBS: dict[Kind, str] = {"assigned": "got", "revoked": "gave up", "lost": "lost"}


class KafkaConsumer:
    """A member of a group. Implements `Consumer`. It joins the group at the first poll."""

    def __init__(
        self,
        group: str,
        topics: Sequence[str],
        listener: RebalanceListener,
        inherit: str = "",
        *,
        settings: KafkaSettings,
        worker: str,
    ) -> None:
        """Connect. Raises ConfigError for an unknown topic, and Transient if no broker answers."""
        self._settings = settings
        self._listener = listener
        self._owned: set[Partition] = set()
        self._paused: set[Partition] = set()
        self._buffer = FairBuffer()
        self._look_due = 0.0
        self._closed = False
        self._changes = Changes(worker, group)
        self._inheritance = Inheritance(group, inherit, settings, worker)
        require_topics(settings, topics)
        heartbeat_s = min(_MAX_HEARTBEAT_S, settings.session_s / _HEARTBEATS_A_SESSION)
        assignor = CooperativeStickyAssignor()
        self._client, connections = open_client(
            Client,
            settings,
            client_id=worker,
            group_id=group,
            session_timeout_ms=int(settings.session_s * 1000),
            heartbeat_interval_ms=int(heartbeat_s * 1000),
            max_poll_interval_ms=int(settings.max_poll_s * 1000),
            partition_assignment_strategy=[assignor],
            **FETCH_OPTIONS,
        )
        relay = Relay(assignor)
        self._client.subscribe(topics=list(topics), listener=relay)
        self._learn_topics(topics)
        self._polls = PollThread(self._client, connections, relay, f"kafka-poll-{worker}")

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """See the interface. Raises Transient while no broker answers, and ConfigError if access is refused."""
        if self._closed:
            raise ValueError("poll after close")
        deadline = time.monotonic() + timeout_s
        while True:
            ready = self._buffer.ready(self._paused)
            if not ready or time.monotonic() >= self._look_due:
                # While the buffer has records, a poll fetches at most one more, so that the buffer cannot grow.
                wait_s = 0.0 if ready else max(0.0, deadline - time.monotonic())
                self._fetch(wait_s, 1 if ready else _REFILL_RECORDS)
            records = self._buffer.take(max_records, self._paused)
            if records or time.monotonic() >= deadline:
                return records

    @property
    def joined(self) -> bool:
        """See the interface."""
        return not self._polls.joining

    def commit(self, next_offsets: Mapping[Partition, int]) -> None:
        """See the interface. Raises Transient during a rebalance (poll, then commit again) or if no broker answers."""
        offsets = {
            TopicPartition(partition.topic, partition.number): OffsetAndMetadata(offset)
            for partition, offset in next_offsets.items()
            if partition in self._owned
        }
        if not offsets or self._closed:
            return
        with translated(self._settings, "committing"):
            try:
                self._client.commit(offsets, timeout_ms=int(REQUEST_TIMEOUT_S * 1000))
            except errors.RebalanceInProgressError:
                raise _rebalancing() from None
            except errors.CommitFailedError as error:
                if any(isinstance(cause, errors.RebalanceInProgressError) for cause in error.args):
                    raise _rebalancing() from None
                # This member was removed from the group. The next poll reports its partitions as lost.

    def pause(self, partitions: Iterable[Partition]) -> None:
        """See the interface. Partitions that are not assigned are ignored."""
        wanted = set(partitions) & self._owned
        self._paused |= wanted
        self._client.pause(*self._assigned(wanted))

    def resume(self, partitions: Iterable[Partition]) -> None:
        """See the interface."""
        wanted = set(partitions) & self._paused
        self._paused -= wanted
        self._client.resume(*self._assigned(wanted - self._inheritance.waiting))

    def close(self) -> None:
        """See the interface. The listener is not called."""
        if self._closed:
            return
        self._closed = True
        self._polls.stop()
        self._owned.clear()
        with translated(self._settings, "leaving the group"):
            self._client.close(autocommit=False, timeout_ms=int(_CLOSE_TIMEOUT_S * 1000))

    def _learn_topics(self, topics: Sequence[str]) -> None:
        """Wait until the client knows the topics. A group leader without them would revoke everybody's partitions."""
        try:
            with translated(self._settings, "looking topics up"):
                places = [TopicPartition(topic, 0) for topic in topics]
                self._client.end_offsets(places, timeout_ms=int(REQUEST_TIMEOUT_S * 1000))
        except BaseException:
            self._client.close(autocommit=False)
            raise

    def _fetch(self, timeout_s: float, max_records: int) -> None:
        if self._inheritance.waiting:
            self._take_over()
        with translated(self._settings, "polling"):
            fetched = self._polls.poll(timeout_s, max_records, self._deal)
        self._look_due = time.monotonic() + _LOOK_EVERY_S
        if not self._polls.joining:
            self._changes.tell(self._owned)
        for place, found in fetched.items():
            partition = Partition(place.topic, place.partition)
            if partition in self._owned:
                self._buffer.add(partition, (record_of(partition, item) for item in found))

    def _take_over(self) -> None:
        """Commit the inherited offsets, and begin to read the partitions that waited for them. Raises Transient; the
        next poll tries again."""
        places = self._inheritance.places()
        self.commit(places)
        decided = set(self._inheritance.waiting)
        for place in self._assigned(decided & places.keys()):
            self._client.seek(place, places[Partition(place.topic, place.partition)])
        self._inheritance.gone(decided)
        self._client.resume(*self._assigned(decided - self._paused))

    def _deal(self, kind: Kind, partitions: frozenset[Partition]) -> None:
        self._changes.add(_VERBS[kind], partitions)
        if kind == "assigned":
            self._owned |= partitions
            self._inheritance.assigned(partitions)
            self._client.pause(*self._assigned(self._inheritance.waiting))
            self._listener.assigned(partitions)
            return
        self._buffer.drop(partitions)
        self._inheritance.gone(partitions)
        self._paused -= partitions
        if kind == "lost":
            self._owned -= partitions
            self._listener.lost(partitions)
            return
        try:
            self._listener.revoked(partitions)
        finally:
            self._owned -= partitions
            self._paused -= partitions  # if they come back, they are not paused

    def _assigned(self, partitions: set[Partition]) -> list[TopicPartition]:
        """Those of these partitions that the client still has. It gives up partitions before the listener is called."""
        known: set[TopicPartition] = self._client.assignment()
        return [place for p in partitions if (place := TopicPartition(p.topic, p.number)) in known]


def _rebalancing() -> Transient:
    return Transient("stream", "rebalancing", "the group is being rebalanced; poll, then commit again")
