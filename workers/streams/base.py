"""The interface of streams: a partitioned, durable log with consumer groups, as Kafka has it.

Every back end passes `tests/contract/test_stream_contract.py`. Records of a partition keep their order, and a key
always goes to the same partition. Delivery is at least once: what is not committed is delivered again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from schemas.envelope import Headers


class Partition(NamedTuple):
    """One partition of a topic."""

    topic: str
    number: int


@dataclass(frozen=True, slots=True)
class Record:
    """One message of the log. Key, value and headers are the bytes that were sent."""

    partition: Partition
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def next_offset(self) -> int:
        """The offset to commit when every effect of this record is durable."""
        return self.offset + 1


def _nothing(_: frozenset[Partition]) -> None:
    return None


@dataclass(frozen=True, slots=True)
class RebalanceListener:
    """Callbacks for changes of the assignment. `poll` calls them, in the polling thread.

    assigned: the new partitions only. revoked: this member still owns the partitions during the call, so finish or drop
    their records and commit the finished ones. lost: another member owns them already, so drop their records and do not
    commit.
    """

    assigned: Callable[[frozenset[Partition]], None] = _nothing
    revoked: Callable[[frozenset[Partition]], None] = _nothing
    lost: Callable[[frozenset[Partition]], None] = _nothing


class Consumer(Protocol):
    """A member of a consumer group. Only one thread may call it."""

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """Records of assigned partitions that are not paused, in offset order per partition. Blocks up to timeout_s.

        The first call joins the group. Every call keeps the membership alive and runs the rebalance listener.

        While the log does not answer, `poll` returns nothing or raises schemas.errors.Transient, and may take some
        seconds longer than timeout_s. Then call it again on the same consumer. No record is lost, and each partition
        continues where it was when the log answers again. The member may have lost its partitions; the listener is
        called then.
        """

    @property
    def joined(self) -> bool:
        """True while the group has this member and no rebalance is under way, even if the member has no partition."""

    def commit(self, next_offsets: Mapping[Partition, int]) -> None:
        """Commit durably. Partitions that this member no longer owns are left out silently, so that a commit never
        changes the progress of another owner.

        Raises Transient if the commit may not be durable: the log does not answer, or the group is being rebalanced.
        Poll, then commit again."""

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Return no records of these partitions from later polls, until `resume`. The membership continues.

        A partition that is revoked and assigned again is no longer paused."""

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Return records of these partitions again, from where this member stopped."""

    def close(self) -> None:
        """Leave the group at once, so that the partitions move to other members. Drain before you call it: it commits
        nothing and does not call the listener. Idempotent."""


class Delivery(Protocol):
    """The pending result of one send."""

    def wait(self, timeout_s: float) -> None:
        """Return when the record is durable. Raises schemas.errors.Transient if it is not durable within timeout_s."""


class Producer(Protocol):
    """Sends records durably (acks = all, idempotent). Thread-safe."""

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = ()) -> Delivery:
        """Queue one record. A value of None is a tombstone.

        Raises:
            Transient: the log does not answer.
            Reject: the local buffer is full.
            ConfigError: the topic does not exist.
            Invalid: the record is too large, or it has no key and the topic is compacted.
        """

    def flush(self, timeout_s: float) -> None:
        """Return when everything that was sent is durable. Raises Transient if it is not within timeout_s."""

    def close(self) -> None:
        """Flush, and release all resources. Idempotent."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """How a topic must be set up; `schemas.topics` has the values. Records of a compacted topic need a key."""

    name: str
    partitions: int
    compacted: bool = False
    retention_ms: int | None = None


class StreamAdmin(Protocol):
    """Topics and offsets, for the command line, workers' metrics and supervisors.

    Every call raises Transient if the log does not answer. The same object can be used again later."""

    def ensure_topics(self, topics: Sequence[TopicSpec]) -> None:
        """Create the missing topics. Raises ConfigError if an existing topic differs."""

    def set_retention(self, topic: str, retention_ms: int) -> None:
        """Change how long a topic that is not compacted keeps its records, in ms. Raises ConfigError for an unknown
        topic, or if this user may not change it."""

    def topics(self) -> frozenset[str]:
        """The names of all topics."""

    def end_offsets(self, topic: str) -> dict[Partition, int]:
        """The next offset that will be written, by partition."""

    def probe(self, topic: str) -> None:
        """Return if the log answers, and has room for more as far as it can tell without writing.

        Raises ConfigError for an unknown topic."""

    def committed(self, group: str, topic: str) -> dict[Partition, int]:
        """The committed offsets of a group, by partition. Partitions without a commit are absent."""

    def timestamps_ms(self, positions: Mapping[Partition, int]) -> dict[Partition, int]:
        """When the first record at or after each offset was written, in ms since the epoch, UTC.

        Partitions without such a record are absent. It reads one record for each partition, so it can be called every
        few seconds. Raises ConfigError for an unknown topic."""

    def read(self, topic: str, start: Mapping[Partition, int] | None = None) -> Iterable[Record]:
        """Every record from `start` to the end at the time of the call, without a group, in offset order per partition.
        Partitions that are not in `start` are read from the beginning."""

    def close(self) -> None:
        """Release all resources. Idempotent."""


class ConsumerFactory(Protocol):
    """Creates members of consumer groups."""

    def __call__(self, group: str, topics: Sequence[str], listener: RebalanceListener, inherit: str = "") -> Consumer:
        """A member of `group` that has not joined yet.

        A group that has no committed offset for a partition starts at its beginning. `inherit` names another group: the
        member then starts at the offset that this group has committed, if there is one, and commits it before it reads.
        From then on the other group has no influence. Members of the other group may still be running; both groups get
        what these have not committed.

        Raises:
            ConfigError: a topic does not exist.
            Transient: the log does not answer.
        """


@dataclass(frozen=True, slots=True)
class Stream:
    """A back end, built by `build_stream(url)`: creates consumers, producers and admin clients."""

    consumer: ConsumerFactory
    producer: Callable[[], Producer]
    admin: Callable[[], StreamAdmin]
    url: str = field(default="")
