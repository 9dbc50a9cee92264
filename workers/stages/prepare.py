"""The prepare stage: fetches and decodes the photos of events, in the calling thread or in other processes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.pixels import (
    Canvas,
    DecodeProcesses,
    JpegDecoder,
    SlotPhoto,
    canvas_input,
    decode,
    decode_canvas,
    decode_photo,
    is_large,
)
from schemas.errors import Invalid, Transient
from schemas.events import ImageRef
from schemas.manifest import Preprocess
from workers import tracing
from workers.intake import Intake
from workers.stages.detect import Looking
from workers.stages.job import Job, Photo
from workers.watching import metrics

_SECONDS = metrics.STAGE_SECONDS.labels("prepare")
_DECODE_SECONDS = metrics.STAGE_SECONDS.labels("decode")


@dataclass(slots=True)
class Prepared:
    """The outcome for some photos of some events."""

    photos: list[Photo] = field(default_factory=list)
    """Decoded photos, ready for the engine."""
    ended: list[Job] = field(default_factory=list)
    """Events that have no photo left to decode and none on its way to the engine."""
    failed: list[tuple[Job, Transient]] = field(default_factory=list)
    """Events of which a photo could not be fetched for now."""
    large: list[Job] = field(default_factory=list)
    """Events that wait with a large photo. `prepare` goes on with them where it stopped."""


class PrepareStage(Protocol):
    """Prepares the photos of events. Many threads may call it at once."""

    @property
    def slots(self) -> NDArray[np.uint8] | None:
        """The pixels of all photos that have a slot, uint8 [slots, h, w, 3]; None if photos have no slots."""

    def prepare(self, jobs: Sequence[Job], *, large: bool = True) -> Iterator[Prepared]:
        """Prepare the photos of events that have photos, some photos at a time.

        Without `large`, events with a large photo may be left to a thread that may wait for memory
        (`engines/pixels/budget.py`).

        Consume each result before you request the next: the photos hold slots until `give_back`. If one photo of an
        event cannot be fetched for now, none of the event's photos is yielded.
        """

    def give_back(self, photos: Sequence[Photo]) -> None:
        """Release the pixels of these photos; the engine has read them."""

    def close(self) -> None:
        """Release all resources. No other call may be running."""


class _Large(Exception):
    """A photo of the event is large."""


@dataclass(frozen=True, slots=True)
class EventPreparer:
    """Fetches and decodes all photos of one event in the calling thread.

    It returns them together, because a photo that cannot be fetched for now makes the whole event wait. No photo of
    that event may have reached the engine by then.
    """

    intake: Intake
    preprocess: Preprocess
    thumbnail_side: int
    """Pixels of the longer side."""
    thumbnails: bool
    jpeg: JpegDecoder | None = None
    looking: Looking | None = None
    """With it, photos get the detector's input and a canvas for their boxes, for the detect stage."""

    def prepare_event(self, job: Job, *, large: bool = True) -> list[Photo]:
        """Return the decoded photos of an event, and note the bad ones in the job. Without `large`, it stops at a
        large photo, and the next call goes on there. With a detector, the next call begins anew: decoded photos have
        canvases of up to 3 MB, and events that wait may hold no more than the bytes of their photos.

        A removal has none: the photos that it still names are not needed, and must not delay it.

        Raises:
            Transient: a photo could not be fetched for now.
            _Large: a photo is large, and `large` is False.
        """
        if not job.needs_photos:
            return []
        photos, job.begun = job.begun, []
        for ref in job.listing.used_images[len(photos) :]:
            try:
                photos.append(self._photo(job, ref, large) if ref.image_id not in job.bad else None)
            except _Large:
                if self.looking is None:
                    job.begun = photos
                raise
            except Transient:
                if job.fetched is not None:
                    job.fetched.drop()
                raise
        if job.fetched is not None:
            job.fetched.drop()
        return [photo for photo in photos if photo is not None]

    def _photo(self, job: Job, ref: ImageRef, large: bool) -> Photo | None:
        try:
            begins_anew = self.looking is not None and not large
            data = job.large or _bytes_of(job, ref, self.intake, stays=begins_anew)
            job.large = None
            needed = self.preprocess if self.looking is None else canvas_input(self.looking.side)
            if not large and is_large(data, needed):
                job.large = None if begins_anew else data
                raise _Large
            fetched = time.monotonic()
            pixels, thumbnail, canvas = self._decode(data)
            _DECODE_SECONDS.observe(time.monotonic() - fetched)
        except Invalid as why:
            _spoil(job, ref.image_id, why)
            return None
        return Photo(job, ref.image_id, pixels, thumbnail, canvas=canvas)

    def _decode(self, data: bytes) -> tuple[NDArray[np.uint8], bytes, Canvas | None]:
        if self.looking is not None:
            side = self.thumbnail_side if self.thumbnails else 0
            canvas, thumbnail = decode_canvas(data, self.looking.side, side, jpeg=self.jpeg)
            return self.looking.shrunk(canvas), thumbnail, canvas
        if not self.thumbnails:
            return decode(data, self.preprocess, jpeg=self.jpeg), b"", None
        decoded = decode_photo(data, self.preprocess, thumbnail_side=self.thumbnail_side, jpeg=self.jpeg)
        return decoded.pixels, decoded.thumbnail, None


class PrepareInThread:
    """A `PrepareStage` that decodes each photo in the calling thread."""

    slots = None

    def __init__(self, preparer: EventPreparer) -> None:
        self._preparer = preparer

    def prepare(self, jobs: Sequence[Job], *, large: bool = True) -> Iterator[Prepared]:
        """See `PrepareStage.prepare`."""
        for job in jobs:
            try:
                with _SECONDS.time(), tracing.step("decode", [job]):
                    photos = self._preparer.prepare_event(job, large=large)
            except Transient as why:
                yield Prepared(failed=[(job, why)])
            except _Large:
                yield Prepared(large=[job])
            else:
                yield Prepared(photos=photos, ended=[] if photos else [job])

    def give_back(self, photos: Sequence[Photo]) -> None:
        """Do nothing: each photo owns its pixels."""

    def close(self) -> None:
        """Do nothing: no resource is held."""


@dataclass(frozen=True, slots=True)
class _Fetched:
    """The bytes of one photo that was fetched and not yet decoded."""

    job: Job
    image_id: str
    data: bytes


class PrepareInProcesses:
    """A `PrepareStage` that fetches in the calling thread and decodes the photos of several events in processes."""

    def __init__(self, intake: Intake, processes: DecodeProcesses, *, most: int, wait_s: float) -> None:
        """Photos go to the processes when there are `most` of them, or when the first has waited `wait_s` seconds."""
        self._intake = intake
        self._processes = processes
        self.slots = processes.slots
        self._most = most
        self._wait_s = wait_s
        self._left: dict[Job, list[_Fetched]] = {}

    def prepare(self, jobs: Sequence[Job], *, large: bool = True) -> Iterator[Prepared]:
        """See `PrepareStage.prepare`."""
        waiting: list[_Fetched] = []
        began = time.monotonic()
        for job in jobs:
            try:
                photos, ended = (self._left.pop(job), False) if job in self._left else self._fetched(job)
            except Transient as why:
                if job.fetched is not None:
                    job.fetched.drop()
                yield Prepared(failed=[(job, why)])
                continue
            if not large and any(self._processes.is_large(one.data) for one in photos):
                self._left[job] = photos
                yield Prepared(large=[job])
                continue
            if ended:
                yield Prepared(ended=[job])
            waiting += photos
            if len(waiting) >= self._most or time.monotonic() - began >= self._wait_s:
                yield from self._decoded(waiting)
                waiting, began = [], time.monotonic()
        yield from self._decoded(waiting)

    def give_back(self, photos: Sequence[Photo]) -> None:
        """See `PrepareStage.give_back`."""
        self._processes.give_back([photo.slot for photo in photos if photo.slot is not None])

    def close(self) -> None:
        """See `PrepareStage.close`."""
        self._processes.close()

    def _fetched(self, job: Job) -> tuple[list[_Fetched], bool]:
        """The photos of an event that are to be decoded, and whether all of them are bad. Raises Transient."""
        found, ended = [], False
        for ref in job.listing.used_images:
            try:
                found.append(_Fetched(job, ref.image_id, _bytes_of(job, ref, self._intake)))
            except Invalid as why:
                ended = _spoil(job, ref.image_id, why)
        return found, ended

    def _decoded(self, waiting: Sequence[_Fetched]) -> Iterator[Prepared]:
        left = iter(waiting)
        started, began_ns = time.monotonic(), time.time_ns()
        for outcomes in self._processes.decode([one.data for one in waiting]):
            ready = Prepared()
            for outcome, one in zip(outcomes, left, strict=False):
                if isinstance(outcome, SlotPhoto):
                    _DECODE_SECONDS.observe(outcome.seconds)
                    ready.photos.append(Photo(one.job, one.image_id, outcome.pixels, outcome.thumbnail, outcome.slot))
                elif _spoil(one.job, one.image_id, outcome):
                    ready.ended.append(one.job)
            _SECONDS.observe(time.monotonic() - started)
            tracing.did("decode", (photo.job for photo in ready.photos), began_ns)
            yield ready
            started = time.monotonic()


def _bytes_of(job: Job, ref: ImageRef, intake: Intake, *, stays: bool = False) -> bytes:
    """The bytes of a photo that the fetch stage has got, or else fetch them here: photos inline and in files, and all
    photos of a back-fill. A photo that `stays` can be had again. Raises Invalid or Transient."""
    if job.fetched is None:
        return intake.fetch(ref)
    here = job.fetched.look(ref.image_id) if stays else job.fetched.take(ref.image_id)
    return intake.fetch(ref) if here is None else here


def _spoil(job: Job, image_id: str, why: Invalid) -> bool:
    """Note a bad photo in the job and in the metrics. True if it was the job's last missing photo."""
    if why.stage == "decode":
        metrics.DECODE_ERRORS.labels(why.error).inc()
    return job.spoil(image_id, why)
