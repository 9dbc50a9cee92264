"""The infer stage: runs the engine on a batch. A photo that makes the engine fail harms no other photo."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engines.recognition import RecognitionEngine
from engines.recognition.bisect import run_halving
from schemas.errors import DeviceLost, Invalid
from schemas.manifest import Manifest
from schemas.predictions import ImageRow
from workers import tracing
from workers.http.serving import Health
from workers.stages.job import Photo
from workers.stages.pooling import image_rows
from workers.stages.prediction_mix import PredictionMix
from workers.watching import metrics

_log = logging.getLogger(__name__)

Outcome = ImageRow | Invalid


@dataclass(frozen=True, slots=True)
class Infer:
    """Runs batches on one engine. Only one thread may call it."""

    engine: RecognitionEngine
    manifest: Manifest
    """The engine's, without the heads that are hidden."""
    health: Health
    slots: NDArray[np.uint8] | None = None
    """The pixels of all photos that have a slot, uint8 [slots, h, w, 3]."""
    mix: PredictionMix | None = None
    """Counts the answers; None in a back-fill, whose photos are old."""
    keep_embedding: bool = False
    """Whether the rows have the embeddings behind their hashes."""
    _places: dict[tuple[int, ...], NDArray[np.uint8]] = field(default_factory=dict)

    def infer(self, photos: Sequence[Photo]) -> list[tuple[Photo, Outcome]]:
        """Run a batch and give each photo its row, or the reason why the engine cannot process it.

        Raises:
            DeviceLost: the device is gone; no photo can cause that.
            Exception: the engine failed on its own parity photos as well, so the engine or the device is at fault.
        """
        outcomes = run_halving(photos, self._run, alone=self._blame, halve_on=Exception)
        return list(zip(photos, outcomes, strict=True))

    def _blame(self, photo: Photo, error: Exception) -> Invalid:
        """The photo failed alone. An engine at fault fails its parity photos in `warm_up`, and the process ends."""
        with self.health.batch():
            self.engine.warm_up()
        return Invalid("engine", "engine_failed", f"the engine failed on this photo alone: {error}")

    def _run(self, photos: Sequence[Photo]) -> list[ImageRow]:
        with tracing.batch((photo.job for photo in photos), len(photos)) as number:
            try:
                return self._rows(photos)
            except Exception as error:
                metrics.ENGINE_ERRORS.labels(type(error).__name__).inc()
                if not isinstance(error, DeviceLost):
                    text, alone = "the engine failed on a batch of %d photos (%s)", photos[0].job.listing_id
                    named = {"batch": number} if len(photos) > 1 else {"batch": number, "listing": alone}
                    _log.warning(text, len(photos), error, extra=named)
                raise

    def _rows(self, photos: Sequence[Photo]) -> list[ImageRow]:
        started = time.monotonic()
        with self.health.batch():
            output = self.engine.infer(self._batch(photos))
        metrics.ENGINE_SECONDS.labels(self.engine.backend).observe(time.monotonic() - started)
        if self.mix is not None:
            self.mix.note(output, [photo.place for photo in photos])
        boxes = [photo.box for photo in photos]
        image_ids = [photo.image_id for photo in photos]
        return image_rows(self.manifest, image_ids, output, boxes, keep_embedding=self.keep_embedding)

    def _batch(self, photos: Sequence[Photo]) -> NDArray[np.uint8]:
        """The pixels as uint8 [n, h, w, 3]: a view if the photos have consecutive slots, else a copy."""
        first, count = photos[0].slot, len(photos)
        side_by_side = first is not None and [photo.slot for photo in photos] == [*range(first, first + count)]
        if self.slots is not None and first is not None and side_by_side:
            return self.slots[first : first + count]
        return self._stacked([photo.pixels for photo in photos])

    def _stacked(self, pixels: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Copy the pixels to a buffer that all batches share: new memory pages cost more than the copying."""
        place = self._places.get(pixels[0].shape)
        if place is None or len(place) < len(pixels):
            place = self._places[pixels[0].shape] = np.empty((len(pixels), *pixels[0].shape), np.uint8)
        return np.stack(pixels, out=place[: len(pixels)])
