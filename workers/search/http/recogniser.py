"""Turns photos of a request into what is searched with: decode, find products, recognise, choose the best frames."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from engines.detection import Detection
from engines.pixels import Box
from engines.recognition import Unrounded, mean_of
from schemas.errors import Invalid
from schemas.predictions import Predictions
from workers.search.find import frames
from workers.search.find.inference import Inference, Recognised
from workers.search.find.looking import Detect, Part, QueryPhotos, View
from workers.search.http import params
from workers.search.http.threads import Threads
from workers.search.http.uploads import photo_problem
from workers.watching import metrics


@dataclass(frozen=True, slots=True)
class Seen:
    """What to search for: a photo, or a part of it, that was just recognised, or the photos of a stored listing.
    `part` is what the detector found there."""

    hashes: list[str]
    predictions: Predictions
    applies: list[str] | None
    listing_id: str | None = None
    image_ids: list[str] = field(default_factory=list)
    unrounded: Unrounded | None = None
    box: Box | None = None
    part: Detection | None = None


@dataclass(frozen=True, slots=True)
class Looked:
    """What to search for, part by part, all boxes that were found, and the numbers of the frames that are used."""

    seen: list[Seen]
    found: Sequence[Detection] = ()
    frames: Sequence[int] = (0,)


class Recogniser:
    """Recognises photos of requests. Belongs to the event loop's thread; the work is done in others."""

    def __init__(self, photos: QueryPhotos, inference: Inference, threads: Threads) -> None:
        self._photos, self._inference, self._threads = photos, inference, threads

    @property
    def has_detector(self) -> bool:
        """Whether products can be looked for."""
        return self._photos.has_detector

    async def view(self, data: bytes, box: Box | None, detect: Detect) -> View:
        """Decode a photo, and cut out what is looked at. Raises Problem if it cannot be decoded."""
        try:
            with metrics.SEARCH_SECONDS.labels("decode").time():
                large = self._photos.is_large(data, detect)
                return await self._threads.decode(lambda: self._photos.view(data, box, detect), large=large)
        except Invalid as error:
            raise photo_problem(error) from None

    async def recognise(self, parts: Sequence[Part]) -> list[Recognised]:
        """Run the parts through the engine. Raises Problem if one is refused, and Reject if there is no room."""
        try:
            with metrics.SEARCH_SECONDS.labels("recognise").time():
                waiting = [asyncio.wrap_future(self._inference.submit(part.pixels)) for part in parts]
                return await asyncio.gather(*waiting)
        except Invalid as error:
            raise photo_problem(error) from None

    async def look(
        self,
        photos: Sequence[bytes],
        box: Box | None,
        detect: Detect,
        *,
        fine: bool,
        charge: Callable[[int], None],
    ) -> Looked:
        """Recognise a photo or some of its parts, or the frames of a clip. With `fine`, it is kept what they were
        before their hashes were rounded.

        `charge` is called with the number of parts of one photo before the engine looks at them, and may refuse them.
        Raises what `view`, `charge` and `recognise` raise, and Problem if all products of several photos are asked for.
        """
        if len(photos) > 1:
            return await self._clip(photos, box, detect, fine=fine)
        view = await self.view(photos[0], box, detect)
        charge(len(view.parts))
        recognised = await self.recognise(view.parts)
        return Looked([_seen(one, part, fine) for one, part in zip(recognised, view.parts, strict=True)], view.found)

    async def _clip(self, photos: Sequence[bytes], box: Box | None, detect: Detect, *, fine: bool) -> Looked:
        """Recognise all frames, and choose those that are searched with. Their embeddings are averaged; everything
        else is that of the frame that agrees best with the others."""
        if detect in {"all", "nearest"}:
            raise params.bad(f"detect: several photos are frames of one product; ask for `{detect}` with one photo")
        views = await asyncio.gather(*(self.view(one, box, detect) for one in photos))
        parts = [view.parts[0] for view in views]
        recognised = await self.recognise(parts)
        best = frames.best_frames([frames.sharpness(one.pixels) for one in parts], [one.hash for one in recognised])
        centre = best[0]
        known = [one for i in best if (one := recognised[i].unrounded) is not None]
        mean = mean_of(known) if fine and len(known) == len(best) else None
        seen = _seen(recognised[centre], parts[centre], fine)
        return Looked(
            [replace(seen, hashes=[recognised[i].hash for i in best], unrounded=mean)], views[centre].found, best
        )


def _seen(recognised: Recognised, part: Part, fine: bool) -> Seen:
    unrounded = recognised.unrounded if fine else None
    seen = Seen([recognised.hash], recognised.predictions, recognised.applies, unrounded=unrounded)
    return replace(seen, box=part.box, part=part.found)
