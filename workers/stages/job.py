"""One event on its way through the stages."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from threading import Lock
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.errors import Invalid
from schemas.events import ImageRef, ListingEvent
from schemas.predictions import BadImage, ImageRow
from workers.streams.base import Record


class Ticket(Protocol):
    """The place of an event among the offsets of its partition."""

    def finish(self) -> None:
        """Every effect of the event is durable."""

    def take_back(self) -> None:
        """The event was not processed after all. Only the newest ticket of a partition can be taken back."""


@dataclass(slots=True)
class Photo:
    """One decoded photo that waits for the engine: pixels uint8 [h, w, 3], thumbnail WebP bytes, empty without one."""

    job: Job
    image_id: str
    pixels: NDArray[np.uint8]
    thumbnail: bytes
    slot: int | None = None
    """Where another process put the pixels."""


@dataclass(slots=True, eq=False)
class Job:
    """An event with what is known of its photos so far."""

    record: Record
    attempt: int
    ticket: Ticket | None = None
    """Its place among the offsets of its partition; None for an event that no topic waits for, as in a back-fill."""
    event: ListingEvent | None = None
    lane: str = ""
    """Which consumer it came by."""
    superseded: bool = False
    """Nothing is left to be computed: what the store holds is published once more."""
    rows: dict[str, ImageRow] = field(default_factory=dict)
    thumbnails: dict[str, bytes] = field(default_factory=dict)
    bad: dict[str, Invalid] = field(default_factory=dict)
    tries: int = 0
    """Failed tries of the present step, without those that a hold excuses."""
    stage: str = "prepare"
    why: str = ""
    """What the last try failed with; empty when nothing has failed."""
    taken: float = field(default_factory=time.time)
    """UTC seconds."""
    _lock: Lock = field(default_factory=Lock)

    @property
    def listing(self) -> ListingEvent:
        """The event; only stages after decoding ask for it."""
        if self.event is None:
            raise RuntimeError("the event was asked for before it was decoded")
        return self.event

    @property
    def listing_id(self) -> str | None:
        """Of the event; None while it is not decoded."""
        return None if self.event is None else self.event.listing_id

    def good(self, photo: Photo, row: ImageRow) -> bool:
        """Keep a row; True when this was the last photo that was missing."""
        with self._lock:
            self.rows[photo.image_id] = row
            if photo.thumbnail:
                self.thumbnails[photo.image_id] = photo.thumbnail
            return self._complete()

    def spoil(self, image_id: str, why: Invalid) -> bool:
        """Note a bad photo; True when this was the last photo that was missing."""
        with self._lock:
            self.bad[image_id] = why
            return self._complete()

    def _complete(self) -> bool:
        return len(self.rows) + len(self.bad) == len(self.listing.images)

    def images_in_order(self) -> list[ImageRow]:
        """Rows of the good photos, in the event's order."""
        return [self.rows[ref.image_id] for ref in self._refs() if ref.image_id in self.rows]

    def bad_in_order(self) -> list[BadImage]:
        """The bad photos, in the event's order."""
        named = ((ref.image_id, self.bad.get(ref.image_id)) for ref in self._refs())
        return [BadImage(image_id=i, stage=why.stage, error=why.error) for i, why in named if why is not None]

    def _refs(self) -> list[ImageRef]:
        return self.listing.images
