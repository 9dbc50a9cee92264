"""Sends retries and dead letters to their topics, many at a time, from one thread.

If the stream does not take one now, it is sent again later. Until then its offset is not committed, no other event
waits for it, and the worker continues.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from schemas.errors import Invalid, Reject, Transient
from workers.stages.failures import Failures
from workers.stages.job import Job
from workers.stages.retry_in_place import pause_s
from workers.streams.base import Delivery
from workers.tagger.hold import Hold
from workers.tagger.queues.handover import Handover
from workers.tagger.waiting_room import HELD_S, Back, WaitingRoom
from workers.watching import metrics

_log = logging.getLogger(__name__)
_MOST = 64  # endings that are sent together and waited for together
_LONGEST_WAIT_S = 30.0  # longest pause between two tries of a refused dead letter
_WARN_EVERY_S = 60.0

Outcome = Literal["retried", "dead"]


@dataclass(frozen=True, slots=True)
class _Ending:
    job: Job
    why: Invalid | Transient

    @property
    def outcome(self) -> Outcome:
        return "dead" if isinstance(self.why, Invalid) else "retried"


class Endings:
    """Ends events that failed. `finished` is called when their retries or dead letters are durable."""

    def __init__(
        self,
        failures: Failures,
        hold: Hold,
        waiting: WaitingRoom,
        *,
        timeout_s: float,
        finished: Callable[[Sequence[tuple[Job, str]]], None],
    ) -> None:
        self._failures, self._hold, self._waiting = failures, hold, waiting
        self._timeout_s = timeout_s
        self._finished = finished
        self._queue: Handover[_Ending] = Handover(most=_MOST)
        self._refused: dict[Job, _Ending | None] = {}
        self._lock = threading.Lock()
        self._warned = -_WARN_EVERY_S
        metrics.UNDELIVERED.set_function(lambda: len(self._refused))

    def end(self, job: Job, why: Invalid | Transient) -> None:
        """End an event that failed for good (it becomes a dead letter) or for now (it becomes a retry)."""
        job.stage, job.why, job.refusals = "ending", why.message, 0
        job.gave_up = why if isinstance(why, Invalid) else None
        self._queue.put([_Ending(job, why)])

    def keep(self, job: Job, why: Transient, back: Back) -> None:
        """The dead letters of an event's photos are not taken now: `back` gets it later, as often as it takes."""
        with self._lock:
            self._refused[job] = None
        self._wait(job, why, f"dead letters of its photos are not taken: {why}", back)

    def forget(self, jobs: Iterable[Job]) -> None:
        """These are through."""
        if self._refused:
            with self._lock:
                for job in jobs:
                    self._refused.pop(job, None)

    def stop(self) -> None:
        """Say that no more events will come."""
        self._queue.end()

    def run(self) -> None:
        """Send retries and dead letters until `stop`. The body of a thread."""
        while endings := self._queue.take():
            self._send(endings)

    def _send(self, endings: Sequence[_Ending]) -> None:
        sent: list[tuple[_Ending, Delivery]] = []
        for ending in endings:
            try:
                sent.append((ending, self._deliver(ending)))
            except (Transient, Reject) as why:
                self._again(ending, why)
        deadline = time.monotonic() + self._timeout_s
        through: list[_Ending] = []
        for ending, delivery in sent:
            try:
                delivery.wait(max(0.0, deadline - time.monotonic()))
                through.append(ending)
            except Transient as why:
                self._again(ending, why)
        self.forget(ending.job for ending in through)
        self._finished([(ending.job, ending.outcome) for ending in through])

    def _deliver(self, ending: _Ending) -> Delivery:
        job, why = ending.job, ending.why
        if isinstance(why, Invalid):
            return self._failures.dead_letter(job.record, why, attempt=job.attempt, listing_id=job.listing_id)
        return self._failures.retry(job.record, why, attempt=job.attempt, listing_id=job.listing_id)

    def _again(self, ending: _Ending, why: Transient | Reject) -> None:
        """Send it again later. During a hold it waits for the end of the outage."""
        with self._lock:
            self._refused[ending.job] = ending
        what = "dead letter" if ending.outcome == "dead" else "retry"
        self._wait(ending.job, why, f"its {what} is not taken: {why}", self._back)

    def _wait(self, job: Job, why: Transient | Reject, words: str, back: Back) -> None:
        job.why = words
        if isinstance(why, Transient) and self._hold.judge(why):
            self._waiting.put(job, HELD_S, back)
            return
        job.refusals += 1
        self._waiting.put(job, pause_s(job.refusals, _LONGEST_WAIT_S), back)
        if job.refusals > 1 and time.monotonic() - self._warned >= _WARN_EVERY_S:
            self._warned = time.monotonic()
            _log.warning(
                "%d events wait because the stream refuses their retries or dead letters: %s",
                len(self._refused),
                why,
            )

    def _back(self, jobs: Sequence[Job]) -> None:
        with self._lock:
            endings = [self._refused[job] for job in jobs]
        self._queue.put(ending for ending in endings if ending is not None)
