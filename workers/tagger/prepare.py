"""The first stage: event bytes → checked event → fetched and decoded photos."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.pixels import JpegDecoder, decode, decode_photo
from schemas.errors import Invalid
from schemas.events import ImageRef, decode_event
from schemas.manifest import Preprocess
from workers import metrics
from workers.intake import Intake
from workers.tagger.job import Job, Photo


@dataclass(frozen=True, slots=True)
class Prepare:
    """Fetch and decode every photo of an event, before any of them goes on: a transient failure of one retries the
    whole event, so nothing of it may have left."""

    intake: Intake
    preprocess: Preprocess
    thumbnail_side: int
    thumbnails: bool
    superseded: Callable[[Job], bool]
    jpeg: JpegDecoder | None = None

    def __call__(self, job: Job) -> list[Photo] | None:
        """The decoded photos; None when there is nothing to compute. Bad photos are noted in the job.

        Raises:
            InvalidEvent: the event cannot be used.
            Transient: a photo could not be fetched now.
        """
        job.event = decode_event(job.record.value)
        if self.superseded(job):
            return None
        if job.event.removed:  # photos that it still names are not needed, and must not hold a removal up
            return []
        photos = [self._photo(job, ref) for ref in job.event.images]
        return [photo for photo in photos if photo is not None]

    def _photo(self, job: Job, ref: ImageRef) -> Photo | None:
        try:
            started = time.monotonic()
            data = self.intake.fetch(ref)
            fetched = time.monotonic()
            metrics.STAGE_SECONDS.labels("fetch").observe(fetched - started)
            pixels, thumbnail = self._decode(data)
            metrics.STAGE_SECONDS.labels("decode").observe(time.monotonic() - fetched)
        except Invalid as why:
            if why.stage == "decode":
                metrics.DECODE_ERRORS.labels(why.error).inc()
            job.spoil(ref.image_id, why)
            return None
        return Photo(job, ref.image_id, pixels, thumbnail)

    def _decode(self, data: bytes) -> tuple[NDArray[np.uint8], bytes]:
        if not self.thumbnails:
            return decode(data, self.preprocess, jpeg=self.jpeg), b""
        decoded = decode_photo(data, self.preprocess, thumbnail_side=self.thumbnail_side, jpeg=self.jpeg)
        return decoded.pixels, decoded.thumbnail
