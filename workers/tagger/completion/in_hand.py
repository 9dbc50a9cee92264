"""The events that a tagger has in hand, from their taking to their last effect, for operators and for metrics."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from workers.stages.job import Job
from workers.watching import metrics


class InHand:
    """The events in hand, the oldest first. Thread-safe. `max_in_flight_events` and `max_in_flight_retries` bound
    it."""

    def __init__(self) -> None:
        self._jobs: dict[Job, None] = {}
        self._lock = threading.Lock()
        metrics.OLDEST_IN_HAND.set_function(self.oldest_s)

    def add(self, jobs: Iterable[Job]) -> None:
        """Add events that were taken."""
        with self._lock:
            self._jobs.update(dict.fromkeys(jobs))

    def remove(self, jobs: Iterable[Job]) -> None:
        """Remove events that are finished."""
        with self._lock:
            for job in jobs:
                self._jobs.pop(job, None)

    def jobs(self) -> list[Job]:
        """All events in hand, the oldest first."""
        with self._lock:
            return list(self._jobs)

    def oldest_s(self) -> float:
        """Seconds since the oldest event was taken; 0 if nothing is in hand."""
        first = next(iter(self.jobs()), None)
        return 0.0 if first is None else max(0.0, time.time() - first.taken)

    def routes(self) -> list[Route]:
        """`GET /v1/in-hand`; `?listing_id=` chooses the events of one listing."""

        def in_hand(request: Request) -> Response:
            wanted = request.query_params.get("listing_id")
            found = [_plain(job) for job in self.jobs()]
            return JSONResponse({"events": [one for one in found if wanted in (None, one["listing_id"])]})

        return [Route("/v1/in-hand", in_hand)]


def _plain(job: Job) -> dict[str, Any]:
    record = job.record
    key = None if record.key is None else record.key.decode("utf-8", "replace")
    return {
        "listing_id": job.listing_id or key,
        "topic": record.partition.topic,
        "partition": record.partition.number,
        "offset": record.offset,
        "stage": job.stage,
        "since": round(job.taken, 3),
        "attempt": job.attempt,
        "why": job.why,
    }
