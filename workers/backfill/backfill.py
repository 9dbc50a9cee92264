"""The loop of a back-fill: missing listings → what was computed for them → rows and hash messages, part by part.

One process runs it, whatever computes the parts. It alone reads the store, keeps the rate, writes and publishes. So
each listing is handed out once, and the topic says where a later run goes on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from schemas.errors import Transient
from schemas.events import ListingEvent
from schemas.manifest import Manifest
from schemas.predictions import RemovalMarker
from workers.backfill.coverage import State, held_by, lacking
from workers.backfill.settings import BackfillSettings
from workers.backfill.tagging import Outcome, Part, Tag, job_of
from workers.stages.job import Job
from workers.stages.retry_in_place import call_with_retries
from workers.stages.settle import Effects
from workers.stores import Store
from workers.streams import Producer, Stream

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Progress:
    """The number of listings so far. `lost`: none of their photos can be fetched and decoded any more. `failed`: a
    photo could not be fetched for now."""

    total: int
    """How many listings the topic lacked at the start, or how many were tried if that is more."""
    done: int = 0
    removed: int = 0
    lost: int = 0
    failed: int = 0
    named: list[str] = field(default_factory=list)
    """The first hundred lost or failed listings, each with the reason."""

    @property
    def seen(self) -> int:
        """The number of listings that were tried."""
        return self.done + self.removed + self.lost + self.failed

    def note(self, listing_id: str, why: str) -> None:
        """Note a listing that did not succeed, and why."""
        if len(self.named) < 100:
            self.named.append(f"{listing_id}: {why}")


class Backfill:
    """One run of a back-fill, built by `build_backfill`. Live workers may use the store and the stream at the same
    time: the store refuses what is older than their rows, and what they removed is removed here too."""

    def __init__(
        self,
        settings: BackfillSettings,
        *,
        store: Store,
        stream: Stream,
        epoch: str,
        effects: Effects,
        producer: Producer,
        tag: Tag,
    ) -> None:
        self._settings = settings
        self._store = store
        self._stream = stream
        self._epoch = epoch
        self._effects = effects
        self._producer = producer
        self._tag = tag

    def run(self, stop: threading.Event, tell: Callable[[Progress], None]) -> Progress:
        """Tag what is missing now, until it is done or `stop` is set. `tell` is called after every few listings.

        Raises:
            Transient: the store or the stream does not answer. Run it again later; it continues where it stopped.
        """
        admin = self._stream.admin()
        try:
            held = held_by(admin, self._epoch)
        finally:
            admin.close()
        progress = Progress(total=sum(1 for _ in lacking(self._store, held)))
        tell(progress)
        handed = deque[list[Job]]()
        try:
            for outcomes in self._tag(self._parts(held, handed, stop)):
                self._take(handed.popleft(), outcomes, progress)
                progress.total = max(progress.total, progress.seen)  # listings may have come since the count
                tell(progress)
                if stop.is_set():
                    break
        finally:
            self._producer.close()
        return progress

    def _parts(self, held: dict[str, int], handed: deque[list[Job]], stop: threading.Event) -> Iterator[Part]:
        """What is missing, some listings at a time and no faster than the rate. `handed` gets their jobs."""
        states, began, count = lacking(self._store, held), time.monotonic(), 0
        while not stop.is_set() and (some := list(islice(states, self._settings.listings_at_once))):
            jobs = [job_of(_event(state)) for state in some]
            handed.append(jobs)
            yield Part([job.listing for job in jobs])
            count += len(jobs)
            self._wait(count, began, stop)

    def _wait(self, count: int, began: float, stop: threading.Event) -> None:
        rate = self._settings.listings_per_s
        if rate:
            stop.wait(max(0.0, began + count / rate - time.monotonic()))

    def _take(self, jobs: Sequence[Job], outcomes: Sequence[Outcome], progress: Progress) -> None:
        """Write and publish what was computed for the listings of a part."""
        settled = []
        for job, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, Transient):
                progress.failed += 1
                progress.note(job.listing.listing_id, outcome.message)
                continue
            job.rows, job.thumbnails, job.bad = outcome
            if not job.superseded and job.status == "dead":
                progress.lost += 1
                progress.note(job.listing.listing_id, next(why.message for why in job.bad.values()))
                continue
            if job.bad:  # they became dead letters when the event came
                _log.debug("without the photos %s", ", ".join(job.bad), extra={"listing": job.listing_id})
            settled.append(job)
        self._settle(settled, progress)

    def _settle(self, jobs: Sequence[Job], progress: Progress) -> None:
        """Write and publish. What the store or the broker refuses for now is tried again; after the last try the run
        ends."""
        left = list(jobs)

        def settle() -> None:
            outcomes = self._effects.settle(left)
            again: list[Job] = []
            fault: Transient | None = None
            for job, outcome in zip(left.copy(), outcomes, strict=True):
                if isinstance(outcome, Transient):
                    again.append(job)
                    fault = outcome
                elif outcome is not None:
                    progress.lost += 1
                    progress.note(job.listing.listing_id, outcome.message)
                elif job.superseded:
                    progress.removed += 1
                else:
                    progress.done += 1
            left[:] = again
            if fault is not None:
                raise fault

        if left:
            call_with_retries(settle, self._settings.in_place_tries)


def _event(state: State) -> ListingEvent:
    """The event of a stored listing, or the removal of one."""
    if isinstance(state, RemovalMarker):
        return ListingEvent(
            event_id="backfill", listing_id=state.listing_id, event_time=state.event_time, type="removed"
        )
    return state.event


def build_backfill(
    settings: BackfillSettings, *, stream: Stream, store: Store, manifest: Manifest, tag: Tag
) -> Backfill:
    """Build one run into the topic of the manifest's epoch, which must exist. `manifest` is that of the bundle which
    `tag` computes with, without the heads that are hidden."""
    producer = stream.producer()
    effects = Effects(
        store=store, producer=producer, failures=None, manifest=manifest, timeout_s=settings.delivery_timeout_s
    )
    return Backfill(
        settings, store=store, stream=stream, epoch=manifest.epoch, effects=effects, producer=producer, tag=tag
    )
