"""Runs the stages in threads, and hands events from one stage to the next, several at a time.

submit ─▶ prepare (threads of each lane) ─▶ batcher ─▶ engine (one thread) ─▶ settle (threads) ─▶ completion
            │                └─▶ batcher ─▶ detect (one thread) ─▶ batcher, where the epoch has a detector
            └─▶ fetch (photos of other hosts, in a pool of each lane) ─▶ prepare
An event whose step failed waits in the waiting room and comes back. One that fails for good goes to the endings.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from schemas.errors import Invalid, Transient
from schemas.events import decode_event
from schemas.predictions import ImageRow
from workers import tracing
from workers.intake import FetchPool
from workers.stages import moved_photos
from workers.stages.detect import Detect
from workers.stages.failures import Failures, NotTaken
from workers.stages.fetch import FetchStage, measure
from workers.stages.infer import Infer
from workers.stages.job import Job, Photo
from workers.stages.prepare import PrepareStage
from workers.stages.retry_in_place import pause_s
from workers.stages.settle import Effects
from workers.tagger.breaker import Breaker, ended
from workers.tagger.canary import Canary
from workers.tagger.completion.completion import Completion
from workers.tagger.endings import Endings
from workers.tagger.hold import Hold
from workers.tagger.queues.batcher import Batcher
from workers.tagger.queues.handover import Handover
from workers.tagger.settings import TaggerSettings
from workers.tagger.waiting_room import HELD_S, Back, WaitingRoom
from workers.watching import metrics

_log = logging.getLogger(__name__)
_LOOK_UP_EVENTS = 32  # events that one request looks up in the store
_CANVASES = 2  # batches of decoded photos that may wait for the detector; each photo has up to 3 MB
_ALONE_S = 1.0  # a lane that wants to run an event alone must ask again within this time
OUTCOMES = ("stored", "partial", "dead", "removed", "superseded")
_AGE = metrics.EVENT_AGE.labels("stored")
_LAST = metrics.LAST_EVENT.labels("tagger")
_SETTLE = metrics.STAGE_SECONDS.labels("settle")


class Pipeline:
    """The threads of one tagger. `fault` is the first error that no input caused; the process must then end."""

    def __init__(
        self,
        settings: TaggerSettings,
        *,
        lanes: Mapping[str, int],
        fetch: Mapping[str, FetchPool],
        prepare: PrepareStage,
        infer: Infer,
        effects: Effects,
        failures: Failures,
        hold: Hold,
        completion: Completion,
        detect: Detect | None = None,
    ) -> None:
        """`lanes`: the number of preparing threads of each lane. `fetch`: what fetches the photos of each lane."""
        self._settings = settings
        self._prepare, self._infer, self._effects, self._completion = prepare, infer, effects, completion
        self.hold = hold
        size = min(settings.batch_size, infer.engine.max_batch)
        self._batcher: Batcher[Photo] = Batcher(size=size, wait_s=settings.batch_wait_ms / 1000, capacity=4 * size)
        self._detect, self._to_detect = detect, self._batcher
        if detect is not None:
            most = min(settings.batch_size, detect.looking.detector.max_batch)
            wait_s = settings.batch_wait_ms / 1000
            self._to_detect = Batcher(size=most, wait_s=wait_s, capacity=_CANVASES * most)
        self._to_prepare: dict[str, Handover[Job]] = {
            lane: Handover(most=_LOOK_UP_EVENTS, shares=threads) for lane, threads in lanes.items()
        }
        self._large: Handover[Job] = Handover(most=1)
        self._back_to_prepare: dict[str, Back] = {lane: queue.put for lane, queue in self._to_prepare.items()}
        self._to_settle: Handover[Job] = Handover(most=settings.settle_events, wait_s=settings.settle_wait_ms / 1000)
        self._back_to_settle: Back = self._to_settle.put
        self._waiting = WaitingRoom(hold)
        self._endings = Endings(
            failures, hold, self._waiting, timeout_s=settings.delivery_timeout_s, finished=self._finish
        )
        self._fetch = {
            lane: FetchStage(pool, arrived=self._arrived, failed=self._endings.end) for lane, pool in fetch.items()
        }
        for pool in fetch.values():
            pool.on_fault = self.fail
        self._changed = threading.Condition()
        self._in_flight: Counter[str] = Counter()
        self._alone = False
        self._wanted_alone_until = 0.0
        self._outcomes: Counter[str] = Counter()
        self.fault: BaseException | None = None
        self.breaker = Breaker(
            share=settings.dead_letter_share,
            window=settings.dead_letter_window,
            senders=settings.dead_letter_senders,
            canary=Canary(prepare).sing,
        )
        self._threads = [
            *(
                self._thread(f"prepare-{lane}-{i}", self._prepare_loop, lane)
                for lane, threads in lanes.items()
                for i in range(threads)
            ),
            self._thread("prepare-large", self._large_loop),
            self._thread("engine", self._engine_loop),
            *([self._thread("detect", self._detect_loop, detect)] if detect is not None else []),
            *(self._thread(f"settle-{i}", self._settle_loop) for i in range(settings.settle_threads)),
            self._thread("waiting", self._waiting.run),
            self._thread("endings", self._endings.run),
        ]
        self._measure(lanes)
        measure(list(fetch.values()))

    def _measure(self, lanes: Mapping[str, int]) -> None:
        """Set up gauges that are computed when they are read, so that they are also right while the tagger is idle."""
        depth = metrics.QUEUE_DEPTH.labels
        depth("prepare").set_function(lambda: sum(map(len, [*self._to_prepare.values(), self._large])))
        depth("batch").set_function(lambda: len(self._batcher))
        if self._detect is not None:
            depth("detect").set_function(lambda: len(self._to_detect))
        depth("settle").set_function(lambda: len(self._to_settle))
        depth("waiting").set_function(lambda: len(self._waiting))
        for lane in lanes:
            metrics.IN_HAND.labels(lane).set_function(partial(self.in_flight, lane))
        for outcome in OUTCOMES:  # shown as 0 before the first event, so that a rate counts the first one
            metrics.EVENTS.labels("tagger", outcome)

    def start(self) -> None:
        """Start the threads."""
        self.hold.start(self._released)
        for thread in self._threads:
            thread.start()

    def _released(self) -> None:
        self._waiting.look()
        with self._changed:
            self._changed.notify_all()

    def in_flight(self, lane: str | None = None) -> int:
        """The number of unfinished events of a lane, or of all lanes."""
        return self._in_flight.total() if lane is None else self._in_flight[lane]

    def outcomes(self) -> Counter[str]:
        """The number of events by outcome since the last call."""
        with self._changed:
            found, self._outcomes = self._outcomes, Counter()
        return found

    def submit(self, jobs: Sequence[Job], *, alone: bool = False) -> bool:
        """Take events of one lane. Returns False if they must wait.

        They wait while another event runs alone. `alone` asks to run one event alone: it waits until no other event is
        in flight, and until then no other event is taken.
        """
        lane = jobs[0].lane
        with self._changed:
            now = time.monotonic()
            if self._alone or (not alone and now < self._wanted_alone_until):
                return False
            if alone and self._in_flight.total():
                self._wanted_alone_until = now + _ALONE_S
                return False
            if alone:
                self._alone, self._wanted_alone_until = True, 0.0
            self._in_flight[lane] += len(jobs)
        tracing.taken(jobs)
        self._completion.begin(jobs)
        self._to_prepare[lane].put(jobs)
        return True

    def give_up(self, job: Job, why: Invalid) -> None:
        """Make an event a dead letter without running any stage. It is in flight until the dead letter is durable."""
        with self._changed:
            self._in_flight[job.lane] += 1
        tracing.taken([job])
        self._completion.begin([job])
        self._endings.end(job, why)

    def wait_for_change(self, timeout_s: float) -> None:
        """Return when an event has finished, a fault has occurred, the hold has ended, or `timeout_s` seconds have
        passed."""
        with self._changed:
            self._changed.wait(timeout_s)

    def fail(self, error: BaseException) -> None:
        """Store the first error that no input caused."""
        with self._changed:
            self.fault = self.fault or error
            self._changed.notify_all()

    def stop(self) -> None:
        """End the threads. After a fault, or with events in flight, the threads end with the process instead."""
        self.hold.stop()
        if self.fault is not None or self._in_flight.total():
            return
        for queue in self._to_prepare.values():
            queue.end()
        self._large.end()
        self._to_detect.end()
        self._batcher.end()
        self._to_settle.end()
        self._waiting.stop()
        self._endings.stop()
        for thread in self._threads:
            thread.join()
        for fetch in self._fetch.values():
            fetch.pool.close()
        self._prepare.close()

    # stages ---------------------------------------------------------------------------------------------------

    def _prepare_loop(self, lane: str) -> None:
        while jobs := self._to_prepare[lane].take():
            self._prepare_photos(self._to_decode(lane, jobs), large=False)

    def _large_loop(self) -> None:
        """Large photos wait for memory, so they have a thread of their own and delay no other listing."""
        while jobs := self._large.take():
            self._prepare_photos(jobs, large=True)

    def _prepare_photos(self, jobs: Sequence[Job], *, large: bool) -> None:
        for some in self._prepare.prepare(jobs, large=large):
            for photo in some.photos:
                photo.job.stage = "engine" if self._detect is None else "detect"
            self._to_detect.put(*some.photos)
            self._hand_to_settle(some.ended)
            self._large.put(some.large)
            for job, why in some.failed:
                self._endings.end(job, why)

    def _to_decode(self, lane: str, jobs: Sequence[Job]) -> list[Job]:
        """The events whose photos are here. Those whose photos come from other hosts return when they have arrived."""
        arrived = [job for job in jobs if job.fetched is not None]
        new = self._to_compute([job for job in jobs if job.fetched is None])
        return [*arrived, *self._fetch[lane].begin(new)]

    def _arrived(self, job: Job) -> None:
        self._to_prepare[job.lane].put([job])

    def _to_compute(self, jobs: Sequence[Job]) -> list[Job]:
        """The events whose photos have to be computed. Events that the store already has go on to settle, as removals
        and listings without photos do. Events that cannot be decoded become dead letters."""
        decoded = [job for job in jobs if self._decoded(job)]
        try:
            known = self._effects.superseded(decoded) if decoded else []
        except Transient as why:
            failed = time.monotonic()
            for job in decoded:
                self._try_again(job, why, self._back_to_prepare[job.lane], failed)
            return []
        for job, superseded in zip(decoded, known, strict=True):
            job.tries, job.why = 0, ""
            job.superseded = superseded
        self._hand_to_settle([job for job in decoded if job.superseded or not job.needs_photos])
        return [job for job in decoded if not job.superseded and job.needs_photos]

    def _decoded(self, job: Job) -> bool:
        if job.event is not None:  # it came back after a failed look-up
            return True
        value = job.record.value
        try:
            if value is not None and moved_photos.are_moved(job.record.headers):
                value = moved_photos.move_back(value, self._effects.store.blob)
            job.event = decode_event(value)
        except Invalid as why:
            self._endings.end(job, why)
            return False
        except Transient as why:
            self._try_again(job, why, self._back_to_prepare[job.lane])
            return False
        return True

    def _detect_loop(self, detect: Detect) -> None:
        """Find the products of several photos together, and give the engine what is cut out."""
        while True:
            batch, _reason = self._to_detect.take()
            if not batch:
                return
            for photo, found in detect.detect(batch):
                if isinstance(found, Invalid):
                    if photo.job.spoil(photo.image_id, found):
                        self._hand_to_settle([photo.job])
                    continue
                photo.job.stage = "engine"
                self._batcher.put(*found)

    def _engine_loop(self) -> None:
        while True:
            batch, _reason = self._batcher.take()
            if not batch:
                return
            complete = []
            for photo, outcome in self._infer.infer(batch):
                if isinstance(outcome, ImageRow):
                    last = photo.job.good(photo, outcome)
                else:
                    last = photo.job.spoil(photo.image_id, outcome, photo.of)
                if last:
                    complete.append(photo.job)
            self._prepare.give_back(batch)
            self._hand_to_settle(complete)

    def _hand_to_settle(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            job.stage = "settle"
        self._to_settle.put(jobs)

    def _settle_loop(self) -> None:
        while jobs := self._to_settle.take():
            with _SETTLE.time():
                self._settle(jobs)

    def _settle(self, jobs: Sequence[Job]) -> None:
        """Do all effects of some events. Events that fail wait and come back; the others finish without them."""
        outcomes = list(zip(jobs, self._effects.settle(jobs), strict=True))
        failed = time.monotonic()
        through = [job for job, why in outcomes if why is None]
        self._endings.forget(through)
        self._finish([(job, _outcome(job)) for job in through])
        for job, why in outcomes:
            if isinstance(why, Invalid):
                self._endings.end(job, why)
            elif isinstance(why, NotTaken):
                self._endings.keep(job, why, self._back_to_settle)
            elif why is not None:
                self._try_again(job, why, self._back_to_settle, failed)

    def _try_again(self, job: Job, why: Transient, back: Back, failed: float | None = None) -> None:
        """A step failed in a way that may pass. Try it again after a pause; after `in_place_tries` tries use a retry
        topic.

        While a service is away no try is counted, so an outage sends no event to a retry topic. `failed`: the time of
        the failure (`time.monotonic()`), if several events failed together.
        """
        job.why = why.message
        if self.hold.judge(why, failed):
            self._waiting.put(job, HELD_S, back)
            return
        job.tries += 1
        if job.tries >= self._settings.in_place_tries:
            self._endings.end(job, why)
        else:
            self._waiting.put(job, pause_s(job.tries), back)

    # ends -----------------------------------------------------------------------------------------------------

    def _finish(self, done: Sequence[tuple[Job, str]]) -> None:
        if not done:
            return
        now = time.time()
        counts = Counter(outcome for _, outcome in done)
        for outcome, count in counts.items():
            metrics.EVENTS.labels("tagger", outcome).inc(count)
        for job, outcome in done:
            self.breaker.note(ended(job, dead=outcome == "dead"))
            _AGE.observe(max(0.0, now - job.record.timestamp_ms / 1000), tracing.exemplar_of(job))
            tracing.ended(job, outcome)
        _LAST.set(now)
        self._completion.finish([job for job, _ in done])
        with self._changed:
            self._outcomes.update(counts)
            self._in_flight.subtract(job.lane for job, _ in done)
            if self._alone and not self._in_flight.total():
                self._alone = False
            self._changed.notify_all()

    def _thread(self, name: str, loop: Callable[..., None], *arguments: object) -> threading.Thread:
        def guarded() -> None:
            try:
                loop(*arguments)
            except BaseException as error:
                _log.exception("the thread %s failed; the tagger ends", name)
                self.fail(error)

        return threading.Thread(target=guarded, name=name, daemon=True)


def _outcome(job: Job) -> str:
    """The outcome of a job whose effects are durable."""
    if job.superseded:
        return "superseded"
    if job.listing.removed:
        return "removed"
    return "stored" if job.status == "complete" else job.status
