"""The polling thread: poll, hand over, pause, resume, commit. Nothing else runs in it.

What was polled and does not fit is held, never dropped. Records of a retry topic wait for their due time with their
partition paused. A suspect (in hand when an earlier life crashed) runs with nothing beside it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from schemas.errors import GroknetError, Invalid, TooManyDeadLetters, Transient
from schemas.topics import source_topics
from workers import metrics
from workers.serving import Health
from workers.streams.base import Consumer, Partition, RebalanceListener, Record, Stream
from workers.tagger.failures import Failures, attempt_of, due_ms
from workers.tagger.job import Job
from workers.tagger.journal import Journal
from workers.tagger.offsets import Offsets
from workers.tagger.pipeline import Pipeline
from workers.tagger.settings import TaggerSettings

_log = logging.getLogger(__name__)
GROUP = "tagger"
_TRIPPED = (
    "most of the last events became dead letters, so the fault is likely ours: look at `groknet dlq list`, mend it, "
    "start again and `groknet dlq replay`; the limit is tagger.dead_letter_share"
)


class Tagger:
    """One member of the group `tagger`; `run` returns after a drain, or raises what must end the process."""

    def __init__(
        self,
        settings: TaggerSettings,
        *,
        stream: Stream,
        pipeline: Pipeline,
        failures: Failures,
        journal: Journal,
        health: Health,
    ) -> None:
        self._settings = settings
        self._pipeline, self._failures, self._journal, self._health = pipeline, failures, journal, health
        self._offsets = Offsets()
        self._assigned: set[Partition] = set()
        self._held: deque[Record] = deque()
        self._not_due: dict[Partition, int] = {}
        self._full_since: float | None = None
        self._backpressure = False
        self._solo = False
        self._last_commit = time.monotonic()
        listener = RebalanceListener(assigned=self._on_assigned, revoked=self._on_revoked, lost=self._on_lost)
        self._consumer: Consumer = stream.consumer(GROUP, source_topics(), listener)

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set, then drain: finish what is in hand, commit, leave the group.

        Raises:
            TooManyDeadLetters: after a drain, so that nobody's crash is counted.
        """
        self._pipeline.start(self._durable)
        try:
            self._health.mark_started()
            while not stop.is_set() and not self._pipeline.breaker.tripped:
                self._turn()
            self._drain()
            self._journal.hand_back()
            if self._pipeline.breaker.tripped:
                raise TooManyDeadLetters(_TRIPPED)
        except GroknetError:
            self._journal.hand_back()  # brokers, store or device failed: an outage must not turn into dead letters
            raise
        finally:
            self._pipeline.stop()
            with _activity("join"):
                self._consumer.close()
            self._journal.close()

    def _turn(self) -> None:
        self._health.beat()
        self._raise_fault()
        self._hand_over()
        self._commit_if_due()
        if self._room() or self._backpressure:
            self._poll()
        else:
            self._note_full()
            with _activity("backpressure"):
                self._pipeline.wait_for_change(self._settings.poll_timeout_s)

    # polling --------------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        limit = max(1, self._settings.max_in_flight_events - self._pipeline.in_flight)
        with _activity("poll"):
            timeout = self._settings.poll_timeout_s
            records = self._consumer.poll(0.01 if self._held else timeout, limit)
        self._held.extend(records)
        self._release_due()
        metrics.COMMIT_GAP.set(self._offsets.gap)
        if self._backpressure and self._room():
            self._set_backpressure(False)

    def _room(self) -> bool:
        """True while the next poll may bring records."""
        ready = sum(1 for record in self._held if record.partition not in self._not_due)
        full = self._pipeline.in_flight + ready >= self._settings.max_in_flight_events
        if not full and self._offsets.gap < self._settings.max_commit_gap:
            self._full_since = None
            return True
        return False

    def _note_full(self) -> None:
        """Full for a while: pause the partitions and go on polling, so that the group keeps this member."""
        now = time.monotonic()
        self._full_since = self._full_since or now
        if now - self._full_since >= self._settings.pause_after_s:
            self._set_backpressure(True)

    def _set_backpressure(self, on: bool) -> None:
        self._backpressure = on
        others = self._assigned - set(self._not_due)
        (self._consumer.pause if on else self._consumer.resume)(others)
        metrics.PAUSED_PARTITIONS.set(len(self._not_due) + (len(others) if on else 0))

    # handing over ---------------------------------------------------------------------------------------------

    def _hand_over(self) -> None:
        """Give held records to the pipeline, oldest first, as far as they are due and fit."""
        if self._solo and self._pipeline.in_flight:
            return
        self._solo = False
        room = self._settings.max_in_flight_events - self._pipeline.in_flight
        waiting: deque[Record] = deque()
        jobs: list[Job] = []
        while self._held and len(jobs) < room:
            record = self._held.popleft()
            if self._parked(record):
                waiting.append(record)
                continue
            crashes = self._journal.attempts(record)
            if crashes and (jobs or self._pipeline.in_flight):
                self._held.appendleft(record)
                break
            jobs += self._jobs(record, crashes)
            if crashes:
                self._solo = True
                break
        self._held.extendleft(reversed(waiting))
        if jobs:
            self._journal.start(*(job.record for job in jobs))
            self._pipeline.submit(jobs)

    def _jobs(self, record: Record, crashes: int) -> list[Job]:
        """The job of a record; none where it is given up. Called in offset order within a partition, so that the
        unbroken run of finished ones can be told."""
        offsets = self._offsets.of(record.partition)
        done = partial(offsets.finish, offsets.take(record))
        if crashes >= self._settings.max_attempts:
            self._give_up(record, crashes)
            self._journal.finish(record)
            done()
            return []
        return [Job(record=record, attempt=attempt_of(record) + crashes, done=done)]

    def _durable(self, jobs: Sequence[Job]) -> None:
        """In the pipeline's threads, before their offsets are finished."""
        self._journal.finish(*(job.record for job in jobs))

    def _give_up(self, record: Record, crashes: int) -> None:
        why = Invalid(
            "engine", "process_died", f"the worker died {crashes} times with this event in hand; it is kept out"
        )
        letter = self._failures.dead_letter(record, why, attempt=crashes)
        letter.wait(self._settings.delivery_timeout_s)
        metrics.EVENTS.labels("tagger", "dead").inc()

    def _parked(self, record: Record) -> bool:
        """True while a retry is not due; its partition is paused meanwhile, so that little piles up here."""
        due = due_ms(record)
        if due <= time.time() * 1000:
            return False
        if record.partition not in self._not_due:
            self._not_due[record.partition] = due
            self._consumer.pause([record.partition])
        return True

    def _release_due(self) -> None:
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
        if not offers:
            return
        try:
            with _activity("submit"):
                self._consumer.commit(offers)
        except Transient as why:
            _log.warning("commit put off: %s", why)
            self._offsets.restore(offers)

    def _raise_fault(self) -> None:
        if self._pipeline.fault is not None:
            raise self._pipeline.fault

    # rebalance and drain --------------------------------------------------------------------------------------

    def _on_assigned(self, partitions: frozenset[Partition]) -> None:
        self._assigned |= partitions
        if self._backpressure:
            self._consumer.pause(partitions)
        self._health.mark_ready()

    def _on_revoked(self, partitions: frozenset[Partition]) -> None:
        """Finish what these partitions have in the pipeline, within the budget; drop what is only held."""
        self._forget_held(partitions)
        self._finish_in_hand(partitions, self._settings.revoke_budget_s)
        self._commit(partitions)
        self._offsets.drop(partitions)

    def _on_lost(self, partitions: frozenset[Partition]) -> None:
        self._forget_held(partitions)
        self._offsets.drop(partitions)

    def _forget_held(self, partitions: frozenset[Partition]) -> None:
        self._assigned -= partitions
        for partition in partitions & self._not_due.keys():
            del self._not_due[partition]
        keep = [record for record in self._held if record.partition not in partitions]
        self._held.clear()
        self._held.extend(keep)

    def _finish_in_hand(self, partitions: frozenset[Partition], budget_s: float) -> None:
        deadline = time.monotonic() + budget_s
        while not self._offsets.idle(partitions) and time.monotonic() < deadline:
            self._raise_fault()
            self._health.beat()
            with _activity("join"):
                self._pipeline.wait_for_change(0.05)

    def _drain(self) -> None:
        """SIGTERM: what is in the pipeline is finished and committed, what is only held comes again elsewhere."""
        self._health.mark_unready("draining")
        self._held.clear()
        deadline = time.monotonic() + self._settings.drain_budget_s
        while self._pipeline.in_flight and time.monotonic() < deadline:
            self._raise_fault()
            self._health.beat()
            with _activity("join"):
                self._pipeline.wait_for_change(0.05)
        self._commit(None)
        if self._pipeline.in_flight:
            _log.error("drain budget over with %d events in hand; they come again", self._pipeline.in_flight)


@contextmanager
def _activity(name: str) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    finally:
        metrics.LOOP_SECONDS.labels(name).inc(time.monotonic() - started)
