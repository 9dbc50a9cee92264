"""An event's photos: fetched and decoded, both in this thread."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.pixels import JpegDecoder, decode, decode_photo
from schemas.errors import Invalid
from schemas.events import ImageRef
from schemas.manifest import Preprocess
from workers import metrics
from workers.intake import Intake
from workers.stages.job import Job, Photo

_FETCH_SECONDS, DECODE_SECONDS = metrics.STAGE_SECONDS.labels("fetch"), metrics.STAGE_SECONDS.labels("decode")


def fetch(intake: Intake, ref: ImageRef) -> bytes:
    """A photo's bytes, clocked. Raises Invalid or Transient."""
    started = time.monotonic()
    data = intake.fetch(ref)
    _FETCH_SECONDS.observe(time.monotonic() - started)
    return data


def spoil(job: Job, image_id: str, why: Invalid) -> bool:
    """Note a bad photo, counted; True when it was the last photo of the job that was missing."""
    if why.stage == "decode":
        metrics.DECODE_ERRORS.labels(why.error).inc()
    return job.spoil(image_id, why)


@dataclass(frozen=True, slots=True)
class Prepare:
    """Fetch and decode every photo of an event, before any of them goes on: a transient failure of one retries the
    whole event, so nothing of it may have left."""

    intake: Intake
    preprocess: Preprocess
    thumbnail_side: int
    thumbnails: bool
    jpeg: JpegDecoder | None = None

    def __call__(self, job: Job) -> list[Photo]:
        """The decoded photos; bad ones are noted in the job. Raises Transient when one could not be fetched now."""
        if job.listing.removed:  # photos that it still names are not needed, and must not hold a removal up
            return []
        photos = [self._photo(job, ref) for ref in job.listing.images]
        return [photo for photo in photos if photo is not None]

    def _photo(self, job: Job, ref: ImageRef) -> Photo | None:
        try:
            data = fetch(self.intake, ref)
            fetched = time.monotonic()
            pixels, thumbnail = self._decode(data)
            DECODE_SECONDS.observe(time.monotonic() - fetched)
        except Invalid as why:
            spoil(job, ref.image_id, why)
            return None
        return Photo(job, ref.image_id, pixels, thumbnail)

    def _decode(self, data: bytes) -> tuple[NDArray[np.uint8], bytes]:
        if not self.thumbnails:
            return decode(data, self.preprocess, jpeg=self.jpeg), b""
        decoded = decode_photo(data, self.preprocess, thumbnail_side=self.thumbnail_side, jpeg=self.jpeg)
        return decoded.pixels, decoded.thumbnail
