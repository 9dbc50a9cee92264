"""The canary: photos of our own that a tagger must be able to prepare. If it cannot, the fault is ours.

Each photo shows four squares of known colours. They take the way of every listing's photo, through the prepare stage
with its threads, processes or GPU decoder.
"""

from __future__ import annotations

import time
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from schemas.events import ImageRef, ListingEvent
from workers.stages.job import Job, Photo
from workers.stages.prepare import PrepareStage
from workers.streams.base import Partition, Record

PHOTOS = ("squares.jpg", "squares.png", "squares.webp")
COLOURS = ((220, 40, 40), (40, 200, 60), (40, 60, 220), (230, 200, 40))  # sRGB, of the squares
_FAR = 40  # of 255 in any channel; JPEG and resizing change the inside of a square by less than 5
_LEAST = 0.05  # share of the pixels that must have each colour; a square is a quarter of the photo


class Canary:
    """Our own photos, and the stage that must prepare them."""

    def __init__(self, prepare: PrepareStage) -> None:
        folder = files("workers.tagger") / "canary_photos"
        self._prepare = prepare
        self._refs = [ImageRef(image_id=name, data=(folder / name).read_bytes()) for name in PHOTOS]

    def sing(self) -> str:
        """Prepare the photos. Returns what went wrong, in words; empty if each has the colours that it should have."""
        job = self._job()
        wrong: list[str] = []
        for some in self._prepare.prepare([job]):
            wrong += [f"{one.image_id} has wrong colours" for one in some.photos if not _is_right(one)]
            self._prepare.give_back(some.photos)
        wrong += [f"{name}: {why.message}" for name, why in job.bad.items()]
        return "; ".join(wrong)

    def _job(self) -> Job:
        event = ListingEvent(
            event_id="canary", listing_id="canary", event_time=time.time_ns() // 1000, type="created", images=self._refs
        )
        record = Record(Partition("canary", 0), 0, time.time_ns() // 1_000_000, b"canary", None)
        return Job(record=record, attempt=1, event=event, lane="canary")


def _is_right(photo: Photo) -> bool:
    pixels: NDArray[np.int16] = photo.pixels.astype(np.int16)
    return all((np.abs(pixels - colour).max(axis=2) <= _FAR).mean() >= _LEAST for colour in COLOURS)
