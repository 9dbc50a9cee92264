"""The loop of a back-fill: missing listings → photos → engine → rows and hash messages, several listings at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from engines.detection import Detector
from engines.recognition import RecognitionEngine
from schemas.errors import Invalid, Transient
from schemas.events import ListingEvent
from schemas.predictions import ImageRow, RemovalMarker
from workers.backfill.coverage import State, held_by, lacking
from workers.backfill.settings import BackfillSettings
from workers.hidden_heads import TAGGER, without_heads
from workers.http.serving import Health
from workers.intake import Intake
from workers.stages.detect import Detect, Looking
from workers.stages.infer import Infer
from workers.stages.job import Job, Photo
from workers.stages.prepare import EventPreparer
from workers.stages.retry_in_place import call_with_retries
from workers.stages.settle import Effects
from workers.stores import Store
from workers.streams import Partition, Producer, Record, Stream

_log = logging.getLogger(__name__)
_NOWHERE = Partition("backfill", 0)


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
        preparer: EventPreparer,
        infer: Infer,
        producer: Producer,
        detect: Detect | None = None,
    ) -> None:
        self._settings = settings
        self._detect = detect
        self._store = store
        self._stream = stream
        self._epoch = epoch
        self._effects = effects
        self._preparer = preparer
        self._infer = infer
        self._producer = producer

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
        work, began = lacking(self._store, held), time.monotonic()
        try:
            with ThreadPoolExecutor(self._settings.fetch_threads, thread_name_prefix="backfill-fetch") as threads:
                while not stop.is_set() and (some := list(islice(work, self._settings.listings_at_once))):
                    self._tag(some, progress, threads)
                    progress.total = max(progress.total, progress.seen)  # listings may have come since the count
                    tell(progress)
                    self._wait(progress.seen, began, stop)
        finally:
            self._producer.close()
        return progress

    def _wait(self, seen: int, began: float, stop: threading.Event) -> None:
        rate = self._settings.listings_per_s
        if rate:
            stop.wait(max(0.0, began + seen / rate - time.monotonic()))

    def _tag(self, states: Sequence[State], progress: Progress, threads: ThreadPoolExecutor) -> None:
        jobs = [_job(state) for state in states]
        ready: list[Job] = []
        photos: list[Photo] = []
        for job, outcome in zip(jobs, threads.map(self._photos, jobs), strict=True):
            if isinstance(outcome, Transient):
                progress.failed += 1
                progress.note(job.listing.listing_id, outcome.message)
                continue
            ready.append(job)
            photos += outcome
        for photo, row in self._rows(self._boxes(photos)):
            if isinstance(row, ImageRow):
                photo.job.good(photo, row)
            else:
                photo.job.spoil(photo.image_id, row, photo.of)
        settled = []
        for job in ready:
            if not job.superseded and job.status == "dead":
                progress.lost += 1
                progress.note(job.listing.listing_id, next(why.message for why in job.bad.values()))
                continue
            if job.bad:  # they became dead letters when the event came
                _log.debug("without the photos %s", ", ".join(job.bad), extra={"listing": job.listing_id})
            settled.append(job)
        self._settle(settled, progress)

    def _photos(self, job: Job) -> list[Photo] | Transient:
        if job.superseded:
            return []
        try:
            return self._preparer.prepare_event(job)
        except Transient as why:
            return why

    def _boxes(self, photos: list[Photo]) -> list[Photo]:
        """What the detector finds in the photos; without a detector, the photos."""
        if self._detect is None:
            return photos
        boxes: list[Photo] = []
        most = self._detect.looking.detector.max_batch
        while photos:  # a part's canvases and inputs of the detector are freed before the next part
            part, photos[:most] = photos[:most], []
            for photo, found in self._detect.detect(part):
                if isinstance(found, Invalid):
                    photo.job.spoil(photo.image_id, found)
                else:
                    boxes += found
        return boxes

    def _rows(self, photos: list[Photo]) -> Iterator[tuple[Photo, ImageRow | Invalid]]:
        most = self._infer.engine.max_batch
        for first in range(0, len(photos), most):
            yield from self._infer.infer(photos[first : first + most])

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


def _job(state: State) -> Job:
    """A job for a stored listing, as if its event had just been polled. A removal is only published."""
    removed = isinstance(state, RemovalMarker)
    if isinstance(state, RemovalMarker):
        event = ListingEvent(
            event_id="backfill", listing_id=state.listing_id, event_time=state.event_time, type="removed"
        )
    else:
        event = state.event
    # The timestamp is now: an index computes a message's age from it, and this message was not written at upload.
    record = Record(_NOWHERE, 0, time.time_ns() // 1_000_000, event.listing_id.encode(), None)
    return Job(record=record, attempt=1, event=event, superseded=removed)


def build_backfill(
    settings: BackfillSettings,
    *,
    stream: Stream,
    store: Store,
    engine: RecognitionEngine,
    intake: Intake,
    hidden_heads: Sequence[str] = (),
    keep_embedding: bool = False,
    detector: Detector | None = None,
) -> Backfill:
    """Build one run into the topic of the engine's epoch, which must exist, and warm up the engine and its detector.
    `hidden_heads` and `keep_embedding` are the tagger's settings.

    Raises:
        ConfigError: `hidden_heads`, which are `tagger.hidden_heads`, names a head that the bundle does not have, or the
            bundle's detector is missing.
    """
    manifest = without_heads(engine.manifest, hidden_heads, TAGGER)
    looking = Looking.of(manifest, detector)
    engine.warm_up()
    if looking is not None:
        looking.detector.warm_up()
    producer = stream.producer()
    effects = Effects(
        store=store,
        producer=producer,
        failures=None,
        manifest=manifest,
        timeout_s=settings.delivery_timeout_s,
    )
    preparer = EventPreparer(
        intake=intake,
        preprocess=manifest.preprocess,
        thumbnail_side=settings.thumbnail_side,
        thumbnails=True,
        looking=looking,
    )
    return Backfill(
        settings,
        store=store,
        stream=stream,
        epoch=manifest.epoch,
        effects=effects,
        preparer=preparer,
        infer=Infer(engine=engine, manifest=manifest, health=Health(), keep_embedding=keep_embedding),
        producer=producer,
        detect=None if looking is None else Detect(looking, Health()),
    )
