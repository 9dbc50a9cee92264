"""What a back-fill computes for listings: their photos are fetched, decoded and described. Nothing is written here.

So it may run in any process, and again: `Backfill` gets the results part by part and is the only one that writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from engines.detection import Detector
from engines.recognition import RecognitionEngine
from schemas.errors import Invalid, Transient
from schemas.events import ListingEvent
from schemas.manifest import Manifest
from schemas.predictions import ImageRow
from workers.backfill.settings import BackfillSettings
from workers.hidden_heads import TAGGER, without_heads
from workers.http.serving import Health
from workers.intake import Intake
from workers.stages.detect import Detect, Looking
from workers.stages.infer import Infer
from workers.stages.job import Job, Photo
from workers.stages.prepare import EventPreparer
from workers.streams import Partition, Record

_NOWHERE = Partition("backfill", 0)


@dataclass(frozen=True, slots=True)
class Part:
    """Some listings that are tagged together, at most `backfill.listings_at_once`. Its text names them."""

    events: list[ListingEvent]

    def __str__(self) -> str:
        return ", ".join(event.listing_id for event in self.events)


class Tagged(NamedTuple):
    """What was computed for one listing, with the fields of a `Job` of the same names."""

    rows: dict[str, list[ImageRow | None]]
    thumbnails: dict[str, bytes]
    bad: dict[str, Invalid]


Outcome = Tagged | Transient
"""Of one listing. Transient: a photo could not be fetched for now."""
Tag = Callable[[Iterable[Part]], Iterator[list[Outcome]]]
"""Computes parts: gives the outcomes of each part's listings, in order. Parts may be taken ahead of the results."""


class Tagging:
    """Computes parts with one engine, in the calling process. Only one thread may call it.

    Attributes:
        manifest: the engine's, without the heads that are hidden.
    """

    def __init__(
        self, *, preparer: EventPreparer, infer: Infer, detect: Detect | None = None, fetch_threads: int = 1
    ) -> None:
        self._preparer = preparer
        self._infer = infer
        self._detect = detect
        self._fetch_threads = fetch_threads
        self.manifest: Manifest = infer.manifest

    def tag_all(self, parts: Iterable[Part]) -> Iterator[list[Outcome]]:
        """See `Tag`. Each part is taken when its result is asked for."""
        return map(self.tag, parts)

    def tag(self, part: Part) -> list[Outcome]:
        """The outcome of each listing of a part. A removal has no photos, so nothing is computed for it.

        Raises:
            DeviceLost: the device is gone.
            Exception: the engine failed on its own parity photos as well, so the engine or the device is at fault.
        """
        jobs = [job_of(event) for event in part.events]
        photos: list[Photo] = []
        failed: dict[Job, Transient] = {}
        with ThreadPoolExecutor(self._fetch_threads, thread_name_prefix="backfill-fetch") as threads:
            for job, found in zip(jobs, threads.map(self._photos, jobs), strict=True):
                if isinstance(found, Transient):
                    failed[job] = found
                else:
                    photos += found
        for photo, row in self._rows(self._boxes(photos)):
            if isinstance(row, ImageRow):
                photo.job.good(photo, row)
            else:
                photo.job.spoil(photo.image_id, row, photo.of)
        return [failed.get(job) or Tagged(job.rows, job.thumbnails, job.bad) for job in jobs]

    def _photos(self, job: Job) -> list[Photo] | Transient:
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


def job_of(event: ListingEvent) -> Job:
    """A job for a stored listing, as if its event had just been polled. A removal is only published."""
    # The timestamp is now: an index computes a message's age from it, and this message was not written at upload.
    record = Record(_NOWHERE, 0, time.time_ns() // 1_000_000, event.listing_id.encode(), None)
    return Job(record=record, attempt=1, event=event, superseded=event.removed)


def build_tagging(
    settings: BackfillSettings,
    *,
    engine: RecognitionEngine,
    intake: Intake,
    hidden_heads: Sequence[str] = (),
    keep_embedding: bool = False,
    detector: Detector | None = None,
) -> Tagging:
    """Join the engine and its detector with what fetches photos, and warm them up. `hidden_heads` and `keep_embedding`
    are the tagger's settings.

    Raises:
        ConfigError: `hidden_heads`, which are `tagger.hidden_heads`, names a head that the bundle does not have, or the
            bundle's detector is missing.
    """
    manifest = without_heads(engine.manifest, hidden_heads, TAGGER)
    looking = Looking.of(manifest, detector)
    engine.warm_up()
    if looking is not None:
        looking.detector.warm_up()
    preparer = EventPreparer(
        intake=intake,
        preprocess=manifest.preprocess,
        thumbnail_side=settings.thumbnail_side,
        thumbnails=True,
        looking=looking,
    )
    return Tagging(
        preparer=preparer,
        infer=Infer(engine=engine, manifest=manifest, health=Health(), keep_embedding=keep_embedding),
        detect=None if looking is None else Detect(looking, Health()),
        fetch_threads=settings.fetch_threads,
    )
