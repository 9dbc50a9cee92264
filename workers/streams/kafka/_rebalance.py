"""Runs the client's poll in one thread and the rebalance listener in another.

kafka-python reports a rebalance inside its own loop, where nothing may block and nothing can be committed. Our
`RebalanceListener` runs in the thread that polls, and may do both. So the client's poll runs in a thread of this
module. It hands each change of the assignment to the thread that asked for the poll, and waits for the answer. The
client's loop continues with its heartbeats meanwhile.
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
_LONGEST_S = 1.0  # the longest poll of the client; closing waits for its end
_GRACE_S = 0.01  # how much longer a poll may take to end when its time is over

Fetched = dict[TopicPartition, list[Any]]


@dataclass(frozen=True, slots=True)
class _News:
    """A change of the assignment that the client's loop waits for."""

    kind: Kind
    partitions: frozenset[Partition]
    dealt_with: Any = field(default_factory=Future)


class Relay(AsyncConsumerRebalanceListener):  # type: ignore[misc]
    """The listener of kafka-python. It puts each change into a queue, and waits for the answer without blocking the
    loop."""

    def __init__(self, assignor: CooperativeStickyAssignor) -> None:
        self.news: SimpleQueue[Any] = SimpleQueue()
        self._assignor = assignor
        self._closed = False

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Pass on the new partitions. kafka-python names only those."""
        await self._tell("assigned", assigned)

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Pass on the partitions to give up. Until this returns, no other member gets them."""
        await self._tell("revoked", revoked)

    async def on_partitions_lost(self, lost: set[TopicPartition]) -> None:
        """Pass on partitions that another member may own already."""
        # The next join request names what this member owns. A lost partition in it could get two owners.
        self._assignor.member_assignment = None
        await self._tell("lost", lost)

    def close(self) -> None:
        """Pass on no more changes."""
        self._closed = True

    async def _tell(self, kind: Kind, partitions: set[TopicPartition]) -> None:
        if self._closed:
            return
        news = _News(kind, frozenset(Partition(p.topic, p.partition) for p in partitions))
        self.news.put(news)
        await news.dealt_with


@dataclass(frozen=True, slots=True)
class _Ended:
    """A poll has ended."""

    fetched: Fetched
    error: BaseException | None = None


class PollThread:
    """Runs the polls of one client, one at a time."""

    def __init__(self, client: Any, connections: Any, relay: Relay, name: str) -> None:
        self._client = client
        self._connections = connections
        self._relay = relay
        self._coordinator = client._coordinator  # only the coordinator knows whether a join is under way
        self._asked: SimpleQueue[tuple[float, int] | None] = SimpleQueue()
        self._polling = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def poll(self, timeout_s: float, max_records: int, deal: Callable[[Kind, frozenset[Partition]], None]) -> Fetched:
        """Poll once. `deal` is called in this thread with each change of the assignment.

        While a join is under way, it returns nothing after `timeout_s` seconds, and the next call continues.
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
        """True if a rebalance is under way or about to begin."""
        return bool(self._coordinator.rejoining or self._coordinator.rejoin_needed)

    def stop(self) -> None:
        """End the thread. Later changes are dropped."""
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
            except BaseException as error:  # `poll` raises it in the thread that asked
                ended = _Ended({}, error)
            self._relay.news.put(ended)

    def _poll_on(self, timeout_s: float, max_records: int) -> Fetched:
        """Poll until a join that is under way has ended. kafka-python 3.0.12 drops the answer to a join if it comes
        between two polls. It then asks again, which makes all other members join again."""
        while True:
            if self._coordinator.rejoining:
                # It also forgets a join that new metadata caused, and then waits for ever. A second request helps.
                self._coordinator.request_rejoin()
                timeout_s = _LONGEST_S
            release_parked(self._client)
            fetched: Fetched = self._client.poll(timeout_ms=int(timeout_s * 1000), max_records=max_records)
            if fetched or self._stopping or not self._coordinator.rejoining:
                return fetched
