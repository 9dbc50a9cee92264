"""A lane: one consumer of a tagger, with its own group, budget and offsets. Its thread polls, hands over and commits.

Records that were polled and do not fit are kept, never dropped. While a record of a retry topic waits for its due time,
its partition is paused. A suspect is an event that was in hand when an earlier process crashed. While a suspect runs,
no other event of any lane runs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from schemas.errors import Invalid, Transient
from workers.stages.failures import attempt_of, due_ms
from workers.stages.job import Job
from workers.streams.base import Consumer, Partition, RebalanceListener, Record, Stream
from workers.tagger.completion.journal import Journal
from workers.tagger.completion.offsets import Offsets
from workers.tagger.pipeline import Pipeline
from workers.tagger.settings import TaggerSettings
from workers.watching import metrics

_log = logging.getLogger(__name__)
_AGAIN_S = 0.5  # pause after a failed call to the stream
_HOLD_DRAIN_S = 2.0  # while a service is away, a drain cannot finish what waits for that service


@dataclass(frozen=True, slots=True)
class Source:
    """What a lane reads: the topics of a consumer group. At its first start the group takes the offsets of
    `inherit`."""

    name: str
    group: str
    topics: tuple[str, ...]
    budget: int
    """At most so many events between poll and commit."""
    inherit: str = ""
    polls_longer: int = 1
    """How many times `poll_timeout_s` an empty poll waits; a lane that may be late need not ask so often."""


class Lane:
    """One member of one consumer group. `run` returns after a drain, or raises the error that must end the process."""

    def __init__(
        self,
        source: Source,
        settings: TaggerSettings,
        *,
        stream: Stream,
        pipeline: Pipeline,
        journal: Journal,
    ) -> None:
        self.source = source
        self.assigned: frozenset[Partition] = frozenset()
        """The assigned partitions. Other threads read them."""
        self.joined = False
        """True once the group has taken this member, even if it has no partition for it. Other threads read it."""
        self.beat = time.monotonic()
        """When the loop last ran, as `time.monotonic()`."""
        self._settings = settings
        self._stream, self._pipeline, self._journal = stream, pipeline, journal
        self._offsets = Offsets()
        self._held: deque[Record] = deque()
        self._not_due: dict[Partition, int] = {}
        self._full_since: float | None = None
        self._backpressure = False
        self._last_commit = time.monotonic()
        self._consumer: Consumer | None = None
        for metric in (metrics.COMMIT_ERRORS, metrics.REBALANCES):
            metric.labels(source.name)  # shown as 0 before the first one

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set or the breaker has found a fault of ours. Then finish what is in hand, commit, and
        leave the group.

        Raises:
            Exception: the fault of the pipeline, which must end the process.
        """
        try:
            while self._consumer is None and not stop.is_set():
                self._open(stop)
            while not stop.is_set() and not self._pipeline.breaker.tripped:
                self._turn()
            self._drain()
        finally:
            if self._consumer is not None:
                with _activity("join"):
                    self._close(self._consumer)

    def _open(self, stop: threading.Event) -> None:
        listener = RebalanceListener(assigned=self._on_assigned, revoked=self._on_revoked, lost=self._on_lost)
        source = self.source
        try:
            self._consumer = self._stream.consumer(source.group, source.topics, listener, inherit=source.inherit)
        except Transient as why:
            self.beat = time.monotonic()
            self._pipeline.hold.alert(why)
            stop.wait(_AGAIN_S)

    def _close(self, consumer: Consumer) -> None:
        try:
            consumer.close()
        except Transient as why:
            _log.info(
                "cannot leave the group %s: %s; the broker will notice that this member is gone", self.source.group, why
            )

    def _turn(self) -> None:
        self.beat = time.monotonic()
        self._raise_fault()
        self._hand_over()
        self._commit_if_due()
        self._hold_or_go_on()
        if self._room() or self._backpressure:
            self._poll()
        else:
            self._note_full()
            with _activity("backpressure"):
                self._pipeline.wait_for_change(self._settings.poll_timeout_s)

    # polling --------------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        assert self._consumer is not None
        limit = max(1, self.source.budget - self._in_flight)
        soon = self._ready_held() and not self._backpressure
        idle_s = self._settings.poll_timeout_s * self.source.polls_longer
        try:
            with _activity("poll"):
                records = self._consumer.poll(0.01 if soon else idle_s, limit)
        except Transient as why:
            self._pipeline.hold.alert(why)
            self._pipeline.wait_for_change(_AGAIN_S)
            records = []
        self.joined |= self._consumer.joined
        self._held.extend(records)
        self._release_due()
        metrics.COMMIT_GAP.labels(self.source.name).set(self._offsets.gap)

    @property
    def _in_flight(self) -> int:
        return self._pipeline.in_flight(self.source.name)

    def _ready_held(self) -> int:
        """The number of kept records that do not wait for a due time."""
        return sum(1 for record in self._held if record.partition not in self._not_due)

    def _room(self) -> bool:
        """True if there is room for the records of the next poll."""
        full = self._in_flight + self._ready_held() >= self.source.budget
        if not full and self._offsets.gap < self._settings.max_commit_gap:
            self._full_since = None
            return True
        return False

    def _note_full(self) -> None:
        """When full for a while, pause the partitions and continue to poll, so that the group keeps this member."""
        now = time.monotonic()
        self._full_since = self._full_since or now
        if now - self._full_since >= self._settings.pause_after_s:
            self._set_backpressure(True)

    def _hold_or_go_on(self) -> None:
        """Pause while a service is away. Resume when it is back and there is room."""
        if self._pipeline.hold.on:
            self._set_backpressure(True)
        elif self._backpressure and self._room():
            self._set_backpressure(False)

    def _set_backpressure(self, on: bool) -> None:
        assert self._consumer is not None
        if on != self._backpressure:
            self._backpressure = on
            (self._consumer.pause if on else self._consumer.resume)(self.assigned - self._not_due.keys())
        paused = len(self.assigned) if on else len(self._not_due)
        metrics.PAUSED_PARTITIONS.labels(self.source.name).set(paused)

    # handing over ---------------------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        """Give kept records to the pipeline, the oldest first, if they are due and fit into the budget."""
        if self._pipeline.hold.on:
            return
        room = self.source.budget - self._in_flight
        waiting: deque[Record] = deque()
        records: list[Record] = []
        while self._held and len(records) < room:
            record = self._held.popleft()
            if self._parked(record):
                waiting.append(record)
                continue
            suspect = bool(self._journal.attempts(record))
            if suspect and records:
                self._held.appendleft(record)
                break
            records.append(record)
            if suspect:
                break
        if records and not self._submit(records):
            self._held.extendleft(reversed(records))
        self._held.extendleft(reversed(waiting))

    def _submit(self, records: Sequence[Record]) -> bool:
        """Hand records on in the order of their offsets. False if the pipeline does not take them now. A suspect comes
        alone; if it was in hand at too many crashes, it becomes a dead letter."""
        crashes = self._journal.attempts(records[0])
        if crashes >= self._settings.max_attempts:
            text = f"the worker died {crashes} times while it had this event in hand, so the event is not tried again"
            self._pipeline.give_up(self._job(records[0], crashes), Invalid("engine", "process_died", text))
            return True
        jobs = [self._job(record, crashes) for record in records]
        if self._pipeline.submit(jobs, alone=bool(crashes)):
            return True
        for job in reversed(jobs):
            assert job.ticket is not None
            job.ticket.take_back()
        return False

    def _job(self, record: Record, crashes: int) -> Job:
        given_up = crashes >= self._settings.max_attempts
        attempt = crashes if given_up else attempt_of(record) + crashes
        ticket = self._offsets.of(record.partition).take(record)
        return Job(record=record, attempt=attempt, ticket=ticket, lane=self.source.name)

    def _parked(self, record: Record) -> bool:
        """True if a retry is not due yet. Its partition is then paused, so that few records pile up here."""
        assert self._consumer is not None
        due = due_ms(record)
        if due <= time.time() * 1000:
            return False
        if record.partition not in self._not_due:
            self._not_due[record.partition] = due
            if not self._backpressure:
                self._consumer.pause([record.partition])
        return True

    def _release_due(self) -> None:
        assert self._consumer is not None
        now = time.time() * 1000
        due = [partition for partition, at in self._not_due.items() if at <= now]
        for partition in due:
            del self._not_due[partition]
        if due and not self._backpressure:
            self._consumer.resume(due)

    # committing -----------------------------------------------------------------------------------------------

    def _commit_if_due(self) -> None:
        if time.monotonic() - self._last_commit >= self._settings.commit_interval_s:
            self._commit(None)
            self._last_commit = time.monotonic()

    def _commit(self, among: frozenset[Partition] | None) -> None:
        self._raise_fault()
        offers = self._offsets.to_commit(among)
        if not offers or self._consumer is None:
            return
        try:
            with _activity("submit"):
                self._consumer.commit(offers)
        except Transient as why:
            _log.debug("the commit failed and is tried again later: %s", why)
            metrics.COMMIT_ERRORS.labels(self.source.name).inc()
            self._pipeline.hold.alert(why)
            self._offsets.restore(offers)

    def _raise_fault(self) -> None:
        if self._pipeline.fault is not None:
            raise self._pipeline.fault

    # rebalance and drain --------------------------------------------------------------------------------------

    def _on_assigned(self, partitions: frozenset[Partition]) -> None:
        assert self._consumer is not None
        self.assigned |= partitions
        if self._backpressure:
            self._consumer.pause(partitions)

    def _on_revoked(self, partitions: frozenset[Partition]) -> None:
        """Finish the records of these partitions that are in the pipeline, within the budget. Drop those that are only
        kept."""
        metrics.REBALANCES.labels(self.source.name).inc()
        self._forget_held(partitions)
        self._finish_in_hand(partitions, self._settings.revoke_budget_s)
        self._commit(partitions)
        self._offsets.drop(partitions)

    def _on_lost(self, partitions: frozenset[Partition]) -> None:
        metrics.REBALANCES.labels(self.source.name).inc()
        self._forget_held(partitions)
        self._offsets.drop(partitions)

    def _forget_held(self, partitions: frozenset[Partition]) -> None:
        self.assigned -= partitions
        for partition in partitions & self._not_due.keys():
            del self._not_due[partition]
        keep = [record for record in self._held if record.partition not in partitions]
        self._held.clear()
        self._held.extend(keep)

    def _finish_in_hand(self, partitions: frozenset[Partition], budget_s: float) -> None:
        """Wait until the pipeline has finished these records. In a hold it cannot, so the next owner does them
        again."""
        deadline = time.monotonic() + budget_s
        while not self._offsets.idle(partitions) and time.monotonic() < deadline and not self._pipeline.hold.on:
            self._raise_fault()
            self.beat = time.monotonic()
            with _activity("join"):
                self._pipeline.wait_for_change(0.05)

    def _drain(self) -> None:
        """Finish and commit what is in the pipeline. Records that are only kept will be polled again by another
        member."""
        self._held.clear()
        began = time.monotonic()
        while self._in_flight:
            budget_s = _HOLD_DRAIN_S if self._pipeline.hold.on else self._settings.drain_budget_s
            if time.monotonic() - began >= budget_s:
                break
            self._raise_fault()
            self.beat = time.monotonic()
            with _activity("join"):
                self._pipeline.wait_for_change(0.05)
        self._commit(None)
        if self._in_flight:
            text = "%s: the drain ends with %d events in hand; they will be processed again"
            _log.warning(text, self.source.name, self._in_flight)


@contextmanager
def _activity(name: str) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    finally:
        metrics.LOOP_SECONDS.labels(name).inc(time.monotonic() - started)
