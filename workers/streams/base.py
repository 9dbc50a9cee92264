"""The stream port: a partitioned, durable log with consumer groups, as Kafka has it.

Every back end passes `tests/contract/test_stream_contract.py`. Order holds within a partition; a key always goes to
one partition. Delivery is at least once: what is not committed comes again.
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
    """One message as it lies in the log; key, value and headers are verbatim bytes."""

    partition: Partition
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def next_offset(self) -> int:
        """What to commit once every effect of this record is durable."""
        return self.offset + 1


def _nothing(_: frozenset[Partition]) -> None:
    return None


@dataclass(frozen=True, slots=True)
class RebalanceListener:
    """Called from inside `poll`, in the polling thread.

    assigned: only what is new. revoked: still ours for the length of the call: finish or drop, commit what is
    finished. lost: already somebody else's: drop, never commit.
    """

    assigned: Callable[[frozenset[Partition]], None] = _nothing
    revoked: Callable[[frozenset[Partition]], None] = _nothing
    lost: Callable[[frozenset[Partition]], None] = _nothing


class Consumer(Protocol):
    """A member of a consumer group. One thread calls all of it."""

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        """Records of assigned partitions that are not paused, in offset order per partition; blocks up to timeout_s.

        Joins the group on the first call, keeps membership alive, runs the rebalance listener.

        While the log cannot be reached it gives nothing or raises schemas.errors.Transient, and may take some seconds
        longer than timeout_s. Call it again then, on the same consumer: no record is lost by it, each partition goes
        on from where it was, and records flow again once the log is back. The member may find its partitions lost
        meanwhile; the listener is told as ever.
        """

    def commit(self, next_offsets: Mapping[Partition, int]) -> None:
        """Durably commit; partitions that this member does not own any more are left out, silently for the caller
        but never for another owner's progress: a commit never goes through for a partition owned by someone else.

        Raises Transient when it is not known to be durable: the log cannot be reached, or the group is being
        rebalanced. Poll, then commit again."""

    def pause(self, partitions: Iterable[Partition]) -> None:
        """No poll that starts after this returns gives records of these until `resume`; membership goes on.

        A partition that leaves this member and comes back is not paused any more."""

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Fetch again, from where this member stopped."""

    def close(self) -> None:
        """Leave the group at once (the partitions move to others); commits nothing by itself and does not run the
        listener: who closes has drained before. Idempotent."""


class Delivery(Protocol):
    """The promise of one send."""

    def wait(self, timeout_s: float) -> None:
        """Return once the record is durable; raises schemas.errors.Transient when it is not within timeout_s."""


class Producer(Protocol):
    """Sends records durably (acks = all, idempotent). Thread-safe."""

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = ()) -> Delivery:
        """Queue one record; value None is a tombstone. Raises Transient when the log cannot be reached, Reject when the
        local buffer is full, ConfigError for an unknown topic and Invalid for a compacted one without key."""

    def flush(self, timeout_s: float) -> None:
        """Return once everything sent is durable; raises Transient otherwise."""

    def close(self) -> None:
        """Flush and release. Idempotent."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """What a topic must be; names and figures come from schemas.topics. Records of a compacted topic need a key."""

    name: str
    partitions: int
    compacted: bool = False
    retention_ms: int | None = None


class StreamAdmin(Protocol):
    """Topics and offsets, for the command line, workers' metrics and supervisors.

    Any call raises Transient when the log cannot be reached; the same object may be asked again later."""

    def ensure_topics(self, topics: Sequence[TopicSpec]) -> None:
        """Create what is missing; raises ConfigError when a present topic differs."""

    def topics(self) -> frozenset[str]:
        """Names of the topics that there are."""

    def end_offsets(self, topic: str) -> dict[Partition, int]:
        """The next offset to be written, per partition."""

    def committed(self, group: str, topic: str) -> dict[Partition, int]:
        """Committed next offsets of a group; partitions without a commit are absent."""

    def timestamps_ms(self, positions: Mapping[Partition, int]) -> dict[Partition, int]:
        """When the first record at or after each offset was written, in ms since the epoch, UTC.

        Partitions that have no such record yet are absent. Reads that one record a partition, not what follows it, so
        that it can be asked every few seconds. Raises ConfigError for an unknown topic."""

    def read(self, topic: str, start: Mapping[Partition, int] | None = None) -> Iterable[Record]:
        """Every record from `start` (partitions absent from it: the beginning) to the end as of the call, without a
        group; offset order within a partition."""

    def close(self) -> None:
        """Release. Idempotent."""


class ConsumerFactory(Protocol):
    """Makes members of groups."""

    def __call__(self, group: str, topics: Sequence[str], listener: RebalanceListener, inherit: str = "") -> Consumer:
        """A member of `group`, which has not joined yet.

        A group without a committed offset for a partition starts at the beginning of it. With `inherit` (the name of
        another group) it starts at the offset that this other group has committed there, where there is one, and
        commits that before it reads, so that it holds from then on whatever the other group does. Members of the other
        group may still be running; what they have not committed is given to both groups.

        Raises ConfigError for an unknown topic, Transient when the log cannot be reached.
        """


@dataclass(frozen=True, slots=True)
class Stream:
    """A back end: factories that the workers and the command line share. Built by `build_stream(url)`."""

    consumer: ConsumerFactory
    producer: Callable[[], Producer]
    admin: Callable[[], StreamAdmin]
    url: str = field(default="")
