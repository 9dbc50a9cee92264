"""One event and its photos, as they pass through the stages."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engines.pixels import Canvas
from schemas.boxes import BoxShares
from schemas.errors import Invalid
from schemas.events import MAX_IMAGES, SURPLUS, ImageRef, ListingEvent
from schemas.predictions import BadImage, ImageRow, Status
from workers.intake import Photos
from workers.streams.base import Record


class Ticket(Protocol):
    """The place of an event among the offsets of its partition."""

    def finish(self) -> None:
        """Every effect of the event is durable."""

    def take_back(self) -> None:
        """The event was not processed after all. Only the newest ticket of a partition can be taken back."""


@dataclass(slots=True)
class Photo:
    """One decoded photo: pixels uint8 [h, w, 3], and a thumbnail as JPEG bytes (empty if there is none).

    Before the detect stage, `pixels` are the detector's input, and `canvas` is what boxes are cut from. After it, there
    is one `Photo` for each box.
    """

    job: Job
    image_id: str
    pixels: NDArray[np.uint8]
    thumbnail: bytes
    slot: int | None = None
    """The slot that holds the pixels, if another process decoded them."""
    canvas: Canvas | None = None
    """The decoded photo, until its boxes are cut out; None without detection."""
    box: BoxShares | None = None
    """The part of the photo that the pixels show; None: the whole photo."""
    place: int = 0
    """The number of the box among those of its photo, from 0."""
    of: int = 1
    """How many boxes its photo has. A photo without a box counts as one."""


@dataclass(slots=True, eq=False)
class Job:
    """An event, and what is known about its photos so far."""

    record: Record
    attempt: int
    ticket: Ticket | None = None
    """None for an event that did not come from a topic, as in a back-fill."""
    event: ListingEvent | None = None
    lane: str = ""
    """The name of the lane that took it."""
    superseded: bool = False
    """True if nothing has to be computed. What the store holds is then published again."""
    fetched: Photos | None = None
    """The photos that came from other hosts; None until they are here, or if there are none."""
    begun: list[Photo | None] = field(default_factory=list)
    """What became of its first photos, where a large one made it wait: decoded photos, and None for bad ones. Empty
    with a detector, for which decoded photos are large themselves."""
    large: bytes | None = None
    """The bytes of the large photo that it waits with."""
    rows: dict[str, list[ImageRow | None]] = field(default_factory=dict)
    """The rows of each photo that has one already, by the place of the box; None where one is missing."""
    thumbnails: dict[str, bytes] = field(default_factory=dict)
    """Those of good photos."""
    bad: dict[str, Invalid] = field(default_factory=dict)
    tries: int = 0
    """Failed tries of the current step. Tries that failed during a hold do not count."""
    refusals: int = 0
    """How often the stream refused its retry or its dead letters. That uses up no try: it may last for hours."""
    stage: str = "prepare"
    why: str = ""
    """Why the last try failed; empty if no try failed."""
    gave_up: Invalid | None = None
    """Why the event as a whole became a dead letter; None if it did not."""
    taken: float = field(default_factory=time.time)
    """When a lane took it, in UTC seconds."""
    span: Any = None
    """The span of its processing; None while tracing is off, or if this listing is not followed."""
    _boxes: Counter[str] = field(default_factory=Counter)
    """How many boxes of a photo are good or bad, for photos with several boxes."""
    _done: set[str] = field(default_factory=set)
    """The photos that are good or bad as a whole."""
    _lock: Lock = field(default_factory=Lock)

    @property
    def listing(self) -> ListingEvent:
        """The decoded event. Raises RuntimeError before it is decoded."""
        if self.event is None:
            raise RuntimeError("the event has not been decoded yet")
        return self.event

    @property
    def needs_photos(self) -> bool:
        """Whether photos have to be fetched. A removal has none that are needed, and a listing may have none."""
        return not self.listing.removed and bool(self._refs())

    @property
    def listing_id(self) -> str | None:
        """The id of the listing; None until the event is decoded."""
        return None if self.event is None else self.event.listing_id

    def good(self, photo: Photo, row: ImageRow) -> bool:
        """Store the row of a good photo, or of one of its boxes. Returns True if this was the last missing one."""
        with self._lock:
            self.rows.setdefault(photo.image_id, [None] * photo.of)[photo.place] = row
            if photo.thumbnail and photo.image_id not in self.bad:
                self.thumbnails[photo.image_id] = photo.thumbnail
            return self._arrived(photo.image_id, photo.of)

    def spoil(self, image_id: str, why: Invalid, of: int = 1) -> bool:
        """Note a bad photo, or a bad box of a photo that has `of` boxes, which spoils the photo. Returns True if this
        was the last missing one."""
        with self._lock:
            self.bad[image_id] = why
            self.thumbnails.pop(image_id, None)  # of a good box of the photo
            return self._arrived(image_id, of)

    def _arrived(self, image_id: str, of: int) -> bool:
        """One more box of a photo is good or bad. True if it was the last one of the event."""
        if of > 1:
            self._boxes[image_id] += 1
            if self._boxes[image_id] < of:
                return False
        self._done.add(image_id)
        return len(self._done) == len(self._refs())

    def _good(self, image_id: str) -> list[ImageRow]:
        """The rows of a photo; none if it is bad."""
        if image_id in self.bad:
            return []
        return [row for row in self.rows.get(image_id, ()) if row is not None]

    @property
    def status(self) -> Status:
        """The status of the listing, once all its photos are good or bad."""
        if not self._refs():
            return "empty"
        if not self.rows.keys() - self.bad.keys():
            return "dead"
        return "partial" if self.has_letters else "complete"

    @property
    def has_letters(self) -> bool:
        """Whether a photo is bad, or is beyond those that are used."""
        return bool(self.bad or self.listing.surplus_images)

    def letters(self) -> list[tuple[str, Invalid]]:
        """What becomes a dead letter, as (image_id, reason): each bad photo, and the photos beyond those that are used
        together, under the id of the first one."""
        surplus = self.listing.surplus_images
        if not surplus:
            return list(self.bad.items())
        names = ", ".join(ref.image_id for ref in surplus)
        text = f"images: {len(self.listing.images)} photos, of which the first {MAX_IMAGES} are used; left out: {names}"
        return [*self.bad.items(), (surplus[0].image_id, Invalid("decode", SURPLUS, text))]

    def images_in_order(self) -> list[ImageRow]:
        """The rows of the good photos, in the order of the event, and of their boxes, the most confident first."""
        return [row for ref in self._refs() for row in self._good(ref.image_id)]

    def bad_in_order(self) -> list[BadImage]:
        """The bad photos, in the order of the event."""
        named = ((ref.image_id, self.bad.get(ref.image_id)) for ref in self._refs())
        bad = [BadImage(image_id=i, stage=why.stage, error=why.error) for i, why in named if why is not None]
        surplus = self.listing.surplus_images
        return bad + [BadImage(image_id=ref.image_id, stage="decode", error=SURPLUS) for ref in surplus]

    def _refs(self) -> list[ImageRef]:
        return self.listing.used_images
