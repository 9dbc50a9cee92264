"""The stages and the bounded queues between them. The polling thread hands jobs in and is told when they are done.

submit ─▶ prepare (threads) ─▶ batcher ─▶ engine (one thread) ─▶ settle (threads) ─▶ job.done
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from functools import partial

from schemas.errors import Invalid, Reject, Transient
from schemas.predictions import ImageRow
from workers import metrics
from workers.tagger.batcher import Batcher
from workers.tagger.breaker import Breaker
from workers.tagger.effects import Effects
from workers.tagger.failures import Failures
from workers.tagger.infer import Infer
from workers.tagger.job import Job, Photo
from workers.tagger.patience import patiently
from workers.tagger.prepare import Prepare
from workers.tagger.settings import TaggerSettings

_log = logging.getLogger(__name__)


class Pipeline:
    """Threads of one tagger. `fault` holds the first error that is nobody's input: the process must end then."""

    def __init__(
        self, settings: TaggerSettings, *, prepare: Prepare, infer: Infer, effects: Effects, failures: Failures
    ) -> None:
        self._settings = settings
        self._prepare, self._infer, self._effects, self._failures = prepare, infer, effects, failures
        size = min(settings.batch_size, infer.engine.max_batch)
        self._batcher: Batcher[Photo] = Batcher(size=size, wait_s=settings.batch_wait_ms / 1000, capacity=4 * size)
        bound = settings.max_in_flight_events
        self._to_prepare: queue.Queue[Job | None] = queue.Queue(maxsize=bound + settings.prepare_threads)
        self._to_settle: queue.Queue[Job | None] = queue.Queue(maxsize=bound + settings.settle_threads)
        self._changed = threading.Condition()
        self._in_flight = 0
        self.fault: BaseException | None = None
        self.breaker = Breaker(share=settings.dead_letter_share, window=settings.dead_letter_window)
        self._threads = [
            *(self._thread(f"prepare-{i}", self._prepare_loop) for i in range(settings.prepare_threads)),
            self._thread("engine", self._engine_loop),
            *(self._thread(f"settle-{i}", self._settle_loop) for i in range(settings.settle_threads)),
        ]

    def start(self) -> None:
        """Start the stages."""
        for thread in self._threads:
            thread.start()

    @property
    def in_flight(self) -> int:
        """Events handed in and not yet done."""
        return self._in_flight

    def submit(self, job: Job) -> None:
        """Take an event on. Raises Reject at the bound: keep it and wait."""
        with self._changed:
            if self._in_flight >= self._settings.max_in_flight_events:
                raise Reject(f"{self._in_flight} events in flight; the bound is tagger.max_in_flight_events")
            self._in_flight += 1
        self._to_prepare.put(job)
        metrics.QUEUE_DEPTH.labels("prepare").set(self._to_prepare.qsize())

    def wait_for_change(self, timeout_s: float) -> None:
        """Return when an event is done, a fault came up, or the time is over."""
        with self._changed:
            self._changed.wait(timeout_s)

    def stop(self) -> None:
        """End the threads. With a fault, or with events still in flight, they are left to end with the process."""
        if self.fault is not None or self._in_flight:
            return
        for _ in range(self._settings.prepare_threads):
            self._to_prepare.put(None)
        self._batcher.end()
        for _ in range(self._settings.settle_threads):
            self._to_settle.put(None)
        for thread in self._threads:
            thread.join()

    # stages ---------------------------------------------------------------------------------------------------

    def _prepare_loop(self) -> None:
        while (job := self._to_prepare.get()) is not None:
            with metrics.STAGE_SECONDS.labels("prepare").time():
                photos = self._prepared(job)
            for photo in photos:
                self._batcher.put(photo)

    def _prepared(self, job: Job) -> list[Photo]:
        """Photos for the engine; an event that has none goes on, or ends, here."""
        try:
            photos = self._prepare(job)
        except Invalid as why:
            self._deliver(job, "dead", partial(self._dead, job, why))
            return []
        except Transient as why:
            self._deliver(job, "retried", partial(self._retry, job, why))
            return []
        if photos is None:
            self._finish(job, "superseded")
        elif not photos:
            self._to_settle.put(job)
        return photos or []

    def _engine_loop(self) -> None:
        while True:
            batch, _reason = self._batcher.take()
            if not batch:
                return
            for photo, outcome in self._infer(batch):
                if isinstance(outcome, ImageRow):
                    complete = photo.job.good(photo, outcome)
                else:
                    complete = photo.job.spoil(photo.image_id, outcome)
                if complete:
                    self._to_settle.put(photo.job)
            metrics.QUEUE_DEPTH.labels("settle").set(self._to_settle.qsize())

    def _settle_loop(self) -> None:
        while (job := self._to_settle.get()) is not None:
            with metrics.STAGE_SECONDS.labels("settle").time():
                self._settle(job)

    def _settle(self, job: Job) -> None:
        try:
            patiently(partial(self._effects.settle, job), self._settings.in_place_tries)
        except Transient as why:
            self._deliver(job, "retried", partial(self._retry, job, why))
            return
        if job.listing.removed:
            outcome = "removed"
        elif job.bad:
            outcome = "partial" if job.rows else "dead"
        else:
            outcome = "stored"
        self._finish(job, outcome)

    # endings --------------------------------------------------------------------------------------------------

    def _dead(self, job: Job, why: Invalid) -> None:
        listing_id = None if job.event is None else job.event.listing_id
        letter = self._failures.dead_letter(job.record, why, attempt=job.attempt, listing_id=listing_id)
        letter.wait(self._settings.delivery_timeout_s)

    def _retry(self, job: Job, why: Transient) -> None:
        _log.info("retry: %s: %s", why.stage, why.message)
        listing_id = None if job.event is None else job.event.listing_id
        sent = self._failures.retry(job.record, why, attempt=job.attempt, listing_id=listing_id)
        sent.wait(self._settings.delivery_timeout_s)

    def _deliver(self, job: Job, outcome: str, send: Callable[[], None]) -> None:
        """A dead letter or a retry that cannot be written is a fault: the offset stays, the process ends."""
        patiently(send, self._settings.in_place_tries)
        self._finish(job, outcome)

    def _finish(self, job: Job, outcome: str) -> None:
        metrics.EVENTS.labels("tagger", outcome).inc()
        self.breaker.note(outcome == "dead")
        metrics.EVENT_AGE.labels("stored").observe(max(0.0, time.time() - job.record.timestamp_ms / 1000))
        metrics.LAST_EVENT.labels("tagger").set_to_current_time()
        job.done(job)
        with self._changed:
            self._in_flight -= 1
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
