"""The engine stage: a batch in, a row for every photo out; a photo that the engine cannot bear harms only itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engines.recognition import RecognitionEngine
from schemas.errors import DeviceLost, Invalid
from schemas.predictions import ImageRow
from workers import metrics
from workers.serving import Health
from workers.stages.job import Photo
from workers.stages.pooling import image_rows

_log = logging.getLogger(__name__)

Outcome = ImageRow | Invalid


@dataclass(frozen=True, slots=True)
class Infer:
    """Run batches on one engine, in one thread."""

    engine: RecognitionEngine
    health: Health
    slots: NDArray[np.uint8] | None = None
    """Where the pixels of photos with a slot lie, uint8 [slots, h, w, 3]."""
    _places: dict[tuple[int, ...], NDArray[np.uint8]] = field(default_factory=dict)

    def __call__(self, photos: list[Photo]) -> Iterable[tuple[Photo, Outcome]]:
        """An outcome for each photo.

        Raises DeviceLost at once, and whatever else the engine raised when its own parity photos fail as well: then
        the fault is the engine's or the device's, and no photo may be blamed for it.
        """
        try:
            rows = self._run(photos)
        except DeviceLost as error:  # no photo can be found by it
            metrics.ENGINE_ERRORS.labels(type(error).__name__).inc()
            raise
        except Exception as error:
            metrics.ENGINE_ERRORS.labels(type(error).__name__).inc()
            _log.warning("a batch of %d failed (%s); looking for the photo", len(photos), error)
            return self._bisect(photos, error)
        return zip(photos, rows, strict=True)

    def _run(self, photos: list[Photo]) -> list[ImageRow]:
        manifest, started = self.engine.manifest, time.monotonic()
        with self.health.batch():
            output = self.engine.infer(self._batch(photos))
        metrics.ENGINE_SECONDS.labels(type(self.engine).__name__).observe(time.monotonic() - started)
        return image_rows(manifest, [photo.image_id for photo in photos], output)

    def _batch(self, photos: list[Photo]) -> NDArray[np.uint8]:
        """uint8 [n, h, w, 3]: where photos lie side by side in slots, those as they are; else a copy."""
        first, count = photos[0].slot, len(photos)
        side_by_side = first is not None and [photo.slot for photo in photos] == [*range(first, first + count)]
        if self.slots is not None and first is not None and side_by_side:
            return self.slots[first : first + count]
        return self._stacked([photo.pixels for photo in photos])

    def _stacked(self, pixels: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """A copy in one place that every batch uses: the pages of a new one cost more than the copying."""
        place = self._places.get(pixels[0].shape)
        if place is None or len(place) < len(pixels):
            place = self._places[pixels[0].shape] = np.empty((len(pixels), *pixels[0].shape), np.uint8)
        return np.stack(pixels, out=place[: len(pixels)])

    def _bisect(self, photos: list[Photo], error: Exception) -> list[tuple[Photo, Outcome]]:
        if len(photos) > 1:
            half = len(photos) // 2
            return [*self(photos[:half]), *self(photos[half:])]
        self.engine.warm_up()  # a sick engine fails its own parity photos here, and the process ends
        return [(photos[0], Invalid("engine", "engine_failed", f"the engine failed on this photo alone: {error}"))]
