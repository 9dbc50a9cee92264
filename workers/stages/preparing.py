"""The prepare stage, decoding in its own threads or in other processes: some events in, photos for the engine out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.pixels import DecodeProcesses, SlotPhoto
from schemas.errors import Invalid, Transient
from workers import metrics
from workers.intake import Intake
from workers.stages.job import Job, Photo
from workers.stages.prepare import DECODE_SECONDS, Prepare, fetch, spoil

_SECONDS = metrics.STAGE_SECONDS.labels("prepare")


@dataclass(slots=True)
class Prepared:
    """What has become of some photos of some events."""

    photos: list[Photo] = field(default_factory=list)
    ended: list[Job] = field(default_factory=list)
    """No photo of these is missing any more, nor waits for the engine."""
    failed: list[tuple[Job, Transient]] = field(default_factory=list)


class Preparing(Protocol):
    """The stage, for any number of threads."""

    @property
    def slots(self) -> NDArray[np.uint8] | None:
        """Where the pixels of photos with a slot lie, uint8 [slots, h, w, 3]; None where no photo has one."""

    def __call__(self, jobs: Sequence[Job]) -> Iterator[Prepared]:
        """All photos of events that are no removals, some at a time. What is yielded must go on before more is asked
        for. None of an event goes on where one of its photos cannot be fetched now."""

    def give_back(self, photos: Sequence[Photo]) -> None:
        """Their pixels are not needed any more."""

    def close(self) -> None:
        """Release what is held; no thread may be in a call."""


class InThread:
    """Each photo is fetched and decoded by the thread that calls."""

    slots = None

    def __init__(self, prepare: Prepare) -> None:
        self._prepare = prepare

    def __call__(self, jobs: Sequence[Job]) -> Iterator[Prepared]:
        """See `Preparing`."""
        for job in jobs:
            try:
                with _SECONDS.time():
                    photos = self._prepare(job)
            except Transient as why:
                yield Prepared(failed=[(job, why)])
            else:
                yield Prepared(photos=photos, ended=[] if photos else [job])

    def give_back(self, photos: Sequence[Photo]) -> None:
        """Nothing was lent."""

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True, slots=True)
class _Fetched:
    job: Job
    image_id: str
    data: bytes


class InProcesses:
    """Photos are fetched by the thread that calls, and decoded by other processes, those of some events together."""

    def __init__(self, intake: Intake, processes: DecodeProcesses, *, most: int, wait_s: float) -> None:
        """Photos are handed over once there are `most` of them, or once the first has waited `wait_s` for others."""
        self._intake = intake
        self._processes = processes
        self.slots = processes.slots
        self._most = most
        self._wait_s = wait_s

    def __call__(self, jobs: Sequence[Job]) -> Iterator[Prepared]:
        """See `Preparing`."""
        waiting: list[_Fetched] = []
        began = time.monotonic()
        for job in jobs:
            try:
                photos, ended = self._fetched(job)
            except Transient as why:
                yield Prepared(failed=[(job, why)])
                continue
            if ended:
                yield Prepared(ended=[job])
            waiting += photos
            if len(waiting) >= self._most or time.monotonic() - began >= self._wait_s:
                yield from self._decoded(waiting)
                waiting, began = [], time.monotonic()
        yield from self._decoded(waiting)

    def give_back(self, photos: Sequence[Photo]) -> None:
        """See `Preparing`."""
        self._processes.give_back([photo.slot for photo in photos if photo.slot is not None])

    def close(self) -> None:
        """See `Preparing`."""
        self._processes.close()

    def _fetched(self, job: Job) -> tuple[list[_Fetched], bool]:
        """What there is to be decoded of an event, and whether that is nothing. Raises Transient."""
        found, ended = [], False
        for ref in job.listing.images:
            try:
                found.append(_Fetched(job, ref.image_id, fetch(self._intake, ref)))
            except Invalid as why:
                ended = spoil(job, ref.image_id, why)
        return found, ended

    def _decoded(self, waiting: Sequence[_Fetched]) -> Iterator[Prepared]:
        left = iter(waiting)
        started = time.monotonic()
        for outcomes in self._processes.decode([one.data for one in waiting]):
            ready = Prepared()
            for outcome, one in zip(outcomes, left, strict=False):
                if isinstance(outcome, SlotPhoto):
                    DECODE_SECONDS.observe(outcome.seconds)
                    ready.photos.append(Photo(one.job, one.image_id, outcome.pixels, outcome.thumbnail, outcome.slot))
                elif spoil(one.job, one.image_id, outcome):
                    ready.ended.append(one.job)
            _SECONDS.observe(time.monotonic() - started)
            yield ready
            started = time.monotonic()
