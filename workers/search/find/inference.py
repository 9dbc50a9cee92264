"""Recognises photos: a bounded queue and one thread, so that waiting photos share a batch."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.detection import Detector
from engines.recognition import RecognitionEngine, Unrounded
from engines.recognition.bisect import run_halving
from schemas import predictions as stored
from schemas.errors import Invalid, Reject
from workers.http.serving import Health
from workers.watching import metrics

_log = logging.getLogger(__name__)

_BEAT_S = 1.0
_STOPPING = "the search service is stopping; ask again"


@dataclass(frozen=True, slots=True)
class Recognised:
    """The engine's output for one photo. `hash` is 64 hex digits. `unrounded` is what it was before its hash was
    rounded; None if the bundle does not give it. `applies` has the ids of the heads that apply, as in `ImageRow`."""

    predictions: stored.Predictions
    hash: str
    unrounded: Unrounded | None = None
    applies: list[str] | None = None


@dataclass(frozen=True, slots=True)
class _Item:
    pixels: NDArray[np.uint8]
    deadline: float
    answer: Future[Recognised]


class Inference:
    """The engine behind a bounded queue. `submit` is thread-safe. Only the owner calls `start` and `close`."""

    def __init__(
        self,
        engine: RecognitionEngine,
        health: Health,
        *,
        max_waiting: int,
        timeout_s: float,
        detector: Detector | None = None,
    ) -> None:
        """`detector` is only warmed up here, with the engine."""
        self._detector = detector
        self.manifest = engine.manifest
        self._engine = engine
        self._health = health
        self._timeout_s = timeout_s
        self._waiting: queue.Queue[_Item] = queue.Queue(max_waiting)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="search-inference", daemon=True)

    def start(self) -> None:
        """Start the thread, which warms up the engine first."""
        self._thread.start()

    def close(self) -> None:
        """End the thread after the current batch. Photos that still wait get Reject. Idempotent."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._refuse_waiting()

    def _refuse_waiting(self) -> None:
        while not self._waiting.empty():
            answer = self._waiting.get_nowait().answer
            if answer.set_running_or_notify_cancel():
                answer.set_exception(Reject(_STOPPING))

    def submit(self, pixels: NDArray[np.uint8]) -> Future[Recognised]:
        """Queue one decoded photo, uint8 [h, w, 3] in the size that the manifest names. Never blocks.

        Returns:
            A future of the result. It raises Invalid if the photo is at fault, and Reject if the photo waited too long.

        Raises:
            Reject: the queue is full, or the service is stopping.
        """
        item = _Item(pixels, time.monotonic() + self._timeout_s, Future())
        if self._stop.is_set():
            raise Reject(_STOPPING)
        try:
            self._waiting.put_nowait(item)
        except queue.Full:
            raise Reject(f"{self._waiting.maxsize} photos are already waiting; ask again") from None
        metrics.QUEUE_DEPTH.labels("search").set(self._waiting.qsize())
        return item.answer

    def _run(self) -> None:
        """Warm up, then serve. Any error here is our fault, and the process must end."""
        try:
            self._engine.warm_up()
            if self._detector is not None:
                self._detector.warm_up()
            self._health.mark_started()
            while not self._stop.is_set():
                self._health.beat()
                items = self._take()
                if items:
                    with self._health.batch():
                        self._infer(items)
        except Exception as error:
            _log.exception("the engine failed; restart this process")
            self._stop.set()
            self._health.fail(error)
            self._refuse_waiting()

    def _take(self) -> list[_Item]:
        """Take what waits, at most one batch. No photo waits for others: a batch forms while the previous one runs."""
        try:
            items = [self._waiting.get(timeout=_BEAT_S)]
        except queue.Empty:
            return []
        while len(items) < self._engine.max_batch:
            try:
                items.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        metrics.QUEUE_DEPTH.labels("search").set(self._waiting.qsize())
        wanted = [item for item in items if item.answer.set_running_or_notify_cancel()]
        now = time.monotonic()
        for item in wanted:
            if item.deadline < now:
                item.answer.set_exception(Reject("the photo waited too long; ask again"))
        return [item for item in wanted if item.deadline >= now]

    def _infer(self, items: Sequence[_Item]) -> None:
        """Answer every item. A photo that the engine refuses is found by halving the batch, and harms no other."""
        try:
            outcomes = run_halving(items, self._recognise, alone=_refusal)
        except Exception as error:
            metrics.ENGINE_ERRORS.labels(type(error).__name__).inc()
            for item in items:
                item.answer.set_exception(error)
            raise
        for item, outcome in zip(items, outcomes, strict=True):
            if isinstance(outcome, Invalid):
                item.answer.set_exception(outcome)
            else:
                item.answer.set_result(outcome)

    def _recognise(self, items: Sequence[_Item]) -> list[Recognised]:
        with metrics.ENGINE_SECONDS.labels(self._engine.backend).time():
            found = self._engine.infer(np.stack([item.pixels for item in items]))
        applies = found.applies(self.manifest)
        return [
            Recognised(found.row(i, self.manifest), found.hash_hex(i), found.unrounded(i), applies[i])
            for i in range(len(items))
        ]


def _refusal(_: _Item, error: Exception) -> Invalid:
    """The error with which the engine refuses one photo."""
    assert isinstance(error, Invalid)
    return error
