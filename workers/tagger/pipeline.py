"""The stages and what is handed on between them, several events at a time.

submit ─▶ prepare (threads) ─▶ batcher ─▶ engine (one thread) ─▶ settle (threads) ─▶ job.done
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from schemas.errors import Invalid, Reject, Transient
from schemas.events import decode_event
from schemas.predictions import ImageRow
from workers import metrics
from workers.streams.base import Delivery
from workers.tagger.batcher import Batcher
from workers.tagger.breaker import Breaker
from workers.tagger.effects import Effects
from workers.tagger.failures import Failures
from workers.tagger.handover import Handover
from workers.tagger.infer import Infer
from workers.tagger.job import Job, Photo
from workers.tagger.patience import patiently, waits
from workers.tagger.preparing import Preparing
from workers.tagger.settings import TaggerSettings

_log = logging.getLogger(__name__)
_LOOK_UP_EVENTS = 32  # looked up in the store in one request
_AGE = metrics.EVENT_AGE.labels("stored")
_LAST = metrics.LAST_EVENT.labels("tagger")
_SETTLE = metrics.STAGE_SECONDS.labels("settle")
_TO_PREPARE, _TO_SETTLE = metrics.QUEUE_DEPTH.labels("prepare"), metrics.QUEUE_DEPTH.labels("settle")


class Pipeline:
    """Threads of one tagger. `fault` holds the first error that is nobody's input: the process must end then."""

    def __init__(
        self, settings: TaggerSettings, *, prepare: Preparing, infer: Infer, effects: Effects, failures: Failures
    ) -> None:
        self._settings = settings
        self._prepare, self._infer, self._effects, self._failures = prepare, infer, effects, failures
        size = min(settings.batch_size, infer.engine.max_batch)
        self._batcher: Batcher[Photo] = Batcher(size=size, wait_s=settings.batch_wait_ms / 1000, capacity=4 * size)
        self._to_prepare: Handover[Job] = Handover(most=_LOOK_UP_EVENTS, shares=settings.prepare_threads)
        self._to_settle: Handover[Job] = Handover(most=settings.settle_events, wait_s=settings.settle_wait_ms / 1000)
        self._on_done: Callable[[Sequence[Job]], None] = _each_done
        self._changed = threading.Condition()
        self._in_flight = 0
        self.fault: BaseException | None = None
        self.breaker = Breaker(share=settings.dead_letter_share, window=settings.dead_letter_window)
        self._threads = [
            *(self._thread(f"prepare-{i}", self._prepare_loop) for i in range(settings.prepare_threads)),
            self._thread("engine", self._engine_loop),
            *(self._thread(f"settle-{i}", self._settle_loop) for i in range(settings.settle_threads)),
        ]

    def start(self, before_done: Callable[[Sequence[Job]], None]) -> None:
        """Start the stages. `before_done` hears of jobs whose effects are durable, before each job's own `done`."""

        def on_done(jobs: Sequence[Job]) -> None:
            before_done(jobs)
            _each_done(jobs)

        self._on_done = on_done
        for thread in self._threads:
            thread.start()

    @property
    def in_flight(self) -> int:
        """Events handed in and not yet done."""
        return self._in_flight

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take events on. Raises Reject above the bound: keep them and wait."""
        with self._changed:
            if self._in_flight + len(jobs) > self._settings.max_in_flight_events:
                raise Reject(f"{self._in_flight} events in flight; the bound is tagger.max_in_flight_events")
            self._in_flight += len(jobs)
        self._to_prepare.put(jobs)
        _TO_PREPARE.set(len(self._to_prepare))

    def wait_for_change(self, timeout_s: float) -> None:
        """Return when an event is done, a fault came up, or the time is over."""
        with self._changed:
            self._changed.wait(timeout_s)

    def stop(self) -> None:
        """End the threads. With a fault, or with events still in flight, they are left to end with the process."""
        if self.fault is not None or self._in_flight:
            return
        self._to_prepare.end()
        self._batcher.end()
        self._to_settle.end()
        for thread in self._threads:
            thread.join()
        self._prepare.close()

    # stages ---------------------------------------------------------------------------------------------------

    def _prepare_loop(self) -> None:
        while jobs := self._to_prepare.take():
            for some in self._prepare(self._to_compute(jobs)):
                self._batcher.put(*some.photos)
                if some.ended:
                    self._to_settle.put(some.ended)
                for job, why in some.failed:
                    self._deliver(job, "retried", partial(self._retry, job, why))

    def _to_compute(self, jobs: Sequence[Job]) -> list[Job]:
        """Those of some events that have photos to be computed; what the store has already goes on, and so does what
        cannot be used at all."""
        decoded = [job for job in jobs if self._decoded(job)]
        try:
            look = partial(self._effects.superseded, decoded)
            known = patiently(look, self._settings.in_place_tries) if decoded else []
        except Transient as why:
            for job in decoded:
                self._deliver(job, "retried", partial(self._retry, job, why))
            return []
        for job, superseded in zip(decoded, known, strict=True):
            job.superseded = superseded
        self._to_settle.put(job for job in decoded if job.superseded or job.listing.removed)
        return [job for job in decoded if not (job.superseded or job.listing.removed)]

    def _decoded(self, job: Job) -> bool:
        try:
            job.event = decode_event(job.record.value)
        except Invalid as why:
            self._deliver(job, "dead", partial(self._dead, job, why))
            return False
        return True

    def _engine_loop(self) -> None:
        while True:
            batch, _reason = self._batcher.take()
            if not batch:
                return
            complete = []
            for photo, outcome in self._infer(batch):
                if isinstance(outcome, ImageRow):
                    last = photo.job.good(photo, outcome)
                else:
                    last = photo.job.spoil(photo.image_id, outcome)
                if last:
                    complete.append(photo.job)
            self._prepare.give_back(batch)
            self._to_settle.put(complete)
            _TO_SETTLE.set(len(self._to_settle))

    def _settle_loop(self) -> None:
        while jobs := self._to_settle.take():
            with _SETTLE.time():
                self._settle(jobs)

    def _settle(self, jobs: Sequence[Job]) -> None:
        """All effects of some events. Those that fail are tried again in place; the others do not wait for them."""
        pauses = waits(self._settings.in_place_tries)
        while jobs:
            outcomes = list(zip(jobs, self._effects.settle(jobs), strict=True))
            self._finish([(job, _outcome(job)) for job, why in outcomes if why is None])
            for job, why in outcomes:
                if isinstance(why, Invalid):
                    self._deliver(job, "dead", partial(self._dead, job, why))
            again = [(job, why) for job, why in outcomes if isinstance(why, Transient)]
            pause_s = next(pauses, None)
            if pause_s is None:
                for job, why in again:
                    self._deliver(job, "retried", partial(self._retry, job, why))
                return
            jobs = [job for job, _ in again]
            if jobs:
                time.sleep(pause_s)

    # endings --------------------------------------------------------------------------------------------------

    def _dead(self, job: Job, why: Invalid) -> Delivery:
        listing_id = None if job.event is None else job.event.listing_id
        return self._failures.dead_letter(job.record, why, attempt=job.attempt, listing_id=listing_id)

    def _retry(self, job: Job, why: Transient) -> Delivery:
        _log.info("retry: %s: %s", why.stage, why.message)
        listing_id = None if job.event is None else job.event.listing_id
        return self._failures.retry(job.record, why, attempt=job.attempt, listing_id=listing_id)

    def _deliver(self, job: Job, outcome: str, send: Callable[[], Delivery]) -> None:
        """A dead letter or a retry that cannot be written is a fault: the offset stays, the process ends."""
        patiently(lambda: send().wait(self._settings.delivery_timeout_s), self._settings.in_place_tries)
        self._finish([(job, outcome)])

    def _finish(self, done: Sequence[tuple[Job, str]]) -> None:
        if not done:
            return
        now = time.time()
        for outcome, count in Counter(outcome for _, outcome in done).items():
            metrics.EVENTS.labels("tagger", outcome).inc(count)
        for job, outcome in done:
            self.breaker.note(outcome == "dead")
            _AGE.observe(max(0.0, now - job.record.timestamp_ms / 1000))
        _LAST.set(now)
        self._on_done([job for job, _ in done])
        with self._changed:
            self._in_flight -= len(done)
            self._changed.notify_all()

    def _thread(self, name: str, loop: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                loop()
            except BaseException as error:
                _log.exception("stage %s", name)
                with self._changed:
                    self.fault = self.fault or error
                    self._changed.notify_all()

        return threading.Thread(target=guarded, name=name, daemon=True)


def _outcome(job: Job) -> str:
    """What became of a job whose effects are durable."""
    if job.superseded:
        return "superseded"
    if job.listing.removed:
        return "removed"
    if job.bad:
        return "partial" if job.rows else "dead"
    return "stored"


def _each_done(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.done()
