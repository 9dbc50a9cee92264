"""The fetch stage: gets the photos of events that come from other hosts, before the events are prepared.

It waits for nobody: events are fetched side by side in a `FetchPool`, and the threads that prepare only decode.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from schemas.errors import Transient
from schemas.events import ImageRef
from workers import tracing
from workers.intake import FetchPool, Photos
from workers.stages.job import Job
from workers.watching import metrics


class FetchStage:
    """Starts the fetches of one lane's events."""

    def __init__(
        self, pool: FetchPool, *, arrived: Callable[[Job], None], failed: Callable[[Job, Transient], None]
    ) -> None:
        """`arrived` is called with an event whose photos are here, and `failed` with one that has to wait for another
        try. Both may be called in any thread."""
        self.pool = pool
        self._arrived, self._failed = arrived, failed

    def begin(self, jobs: Sequence[Job]) -> list[Job]:
        """Start to fetch the photos of events. Return the events that have nothing to fetch from another host: their
        photos are inline or in files."""
        here = []
        for job in jobs:
            refs = [ref for ref in job.listing.used_images if _is_remote(ref)]
            if refs:
                job.stage = "fetch"
                self.pool.fetch(refs, partial(self._done, job, time.time_ns()))
            else:
                here.append(job)
        return here

    def _done(self, job: Job, began_ns: int, outcome: Photos | Transient) -> None:
        tracing.did("fetch", [job], began_ns)
        job.stage = "prepare"
        if isinstance(outcome, Transient):
            self._failed(job, outcome)
        else:
            job.fetched = outcome
            self._arrived(job)


def _is_remote(ref: ImageRef) -> bool:
    return ref.data is None and (ref.url or "")[:5].lower() != "file:"


def measure(pools: Sequence[FetchPool]) -> None:
    """Set up the gauges of these pools."""
    metrics.QUEUE_DEPTH.labels("fetch").set_function(lambda: sum(pool.waiting() for pool in pools))
    metrics.FETCHES.set_function(lambda: sum(pool.running() for pool in pools))
    metrics.SLOW_HOSTS.set_function(lambda: sum(pool.slow_hosts() for pool in pools))
