"""Polls in one thread, rebalance listener in another: kafka-python tells of a rebalance inside its own loop, where
nothing may block and nothing can be committed; the port's listener runs in the thread that polls and may do both.

So `KafkaConsumer.poll` runs in a thread of this module. When it has news of a rebalance it hands them to the thread
that asked for the poll and waits, while the client's loop goes on with its heartbeats.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Literal

from kafka import TopicPartition  # type: ignore[import-untyped]
from kafka.consumer.subscription_state import (  # type: ignore[import-untyped]
    AsyncConsumerRebalanceListener,
)
from kafka.coordinator.assignors.cooperative_sticky import (  # type: ignore[import-untyped]
    CooperativeStickyAssignor,
)
from kafka.future import Future  # type: ignore[import-untyped]

from workers.streams.base import Partition
from workers.streams.kafka._fetching import release_parked

Kind = Literal["assigned", "revoked", "lost"]
_LONGEST_S = 1.0  # of one poll of the client: closing waits for its end
_GRACE_S = 0.01  # for a poll to end that has reached its time

Fetched = dict[TopicPartition, list[Any]]


@dataclass(frozen=True, slots=True)
class _News:
    """A rebalance that the client's loop waits to be dealt with."""

    kind: Kind
    partitions: frozenset[Partition]
    dealt_with: Any = field(default_factory=Future)


class Relay(AsyncConsumerRebalanceListener):  # type: ignore[misc]
    """kafka-python's listener: puts news into a queue and waits for the answer without holding up the loop."""

    def __init__(self, assignor: CooperativeStickyAssignor) -> None:
        self.news: SimpleQueue[Any] = SimpleQueue()
        self._assignor = assignor
        self._closed = False

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Only what is new."""
        await self._tell("assigned", assigned)

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Still ours until this returns: no other member gets them before this one joins again."""
        await self._tell("revoked", revoked)

    async def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        """Somebody else's already."""
        # The next request to join names what this member owns; what it has lost would be given to two members.
        self._assignor.member_assignment = None
        await self._tell("lost", lost)

    def close(self) -> None:
        """Tell nothing any more."""
        self._closed = True

    async def _tell(self, kind: Kind, partitions: set[TopicPartition]) -> None:
        if self._closed:
            return
        news = _News(kind, frozenset(Partition(p.topic, p.partition) for p in partitions))
        self.news.put(news)
        await news.dealt_with


@dataclass(frozen=True, slots=True)
class _Ended:
    """A poll came back."""

    fetched: Fetched
    error: BaseException | None = None


class PollThread:
    """Runs the polls of one client, one at a time."""

    def __init__(self, client: Any, connections: Any, relay: Relay, name: str) -> None:
        self._client = client
        self._connections = connections
        self._relay = relay
        self._coordinator = client._coordinator  # only it knows whether a join is under way
        self._asked: SimpleQueue[tuple[float, int] | None] = SimpleQueue()
        self._polling = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def poll(self, timeout_s: float, max_records: int, deal: Callable[[Kind, frozenset[Partition]], None]) -> Fetched:
        """One poll; `deal` is called in this thread with what the group decided meanwhile.

        While a join is under way it comes back empty after `timeout_s`, and goes on the next time.
        """
        deadline = time.monotonic() + timeout_s
        if not self._polling:
            self._asked.put((min(timeout_s, _LONGEST_S), max_records))
            self._polling = True
        while True:
            item = self._next(deadline)
            if item is None:
                return {}
            if isinstance(item, _Ended):
                self._polling = False
                if item.error is not None:
                    raise item.error
                return item.fetched
            try:
                deal(item.kind, item.partitions)
            finally:
                self._answer(item)

    @property
    def joining(self) -> bool:
        """A rebalance is under way, or about to begin."""
        return bool(self._coordinator.rejoining or self._coordinator.rejoin_needed)

    def stop(self) -> None:
        """End the thread; what it still hears is dropped."""
        self._stopping = True
        self._relay.close()
        while self._polling:
            item = self._relay.news.get()
            if isinstance(item, _Ended):
                self._polling = False
            else:
                self._answer(item)
        self._asked.put(None)
        self._thread.join()

    def _next(self, deadline: float) -> _News | _Ended | None:
        while True:
            try:
                item: _News | _Ended = self._relay.news.get(timeout=max(_GRACE_S, deadline - time.monotonic()))
                return item
            except Empty:
                if self._coordinator.rejoining:
                    return None

    def _answer(self, news: _News) -> None:
        news.dealt_with.success(None)
        self._connections.wakeup()  # the loop sleeps until its next event

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            try:
                ended = _Ended(self._poll_on(*asked))
            except BaseException as error:  # raised by `poll`, in the thread that asked
                ended = _Ended({}, error)
            self._relay.news.put(ended)

    def _poll_on(self, timeout_s: float, max_records: int) -> Fetched:
        """Poll until a join that is under way is through: kafka-python 3.0.12 throws away an answer to it that comes
        between two polls, asks again, and by that makes all others join again, too."""
        while True:
            if self._coordinator.rejoining:
                # It also forgets a join that new metadata caused, and then waits for ever: said once more, it does not.
                self._coordinator.request_rejoin()
                timeout_s = _LONGEST_S
            release_parked(self._client)
            fetched: Fetched = self._client.poll(timeout_ms=int(timeout_s * 1000), max_records=max_records)
            if fetched or self._stopping or not self._coordinator.rejoining:
                return fetched
