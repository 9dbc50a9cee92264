"""The detect stage: finds the products in decoded photos, and cuts them out for the engine.

It runs between decode and engine, and only in an epoch whose bundle has a detector. A photo is decoded once, and every
box is cut out of that decode. A photo that makes the detector fail harms no other photo. Searches look at the photos of
requests by the same classes, so that the same photo gives the same pixels there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import NDArray

from engines.detection import Detection, Detector, chosen
from engines.pixels import Canvas
from engines.recognition.bisect import run_halving
from schemas.boxes import DetectPlan
from schemas.errors import ConfigError, DeviceLost, Invalid
from schemas.manifest import Manifest, Preprocess
from workers.http.serving import Health
from workers.stages.job import Photo
from workers.watching import metrics

_log = logging.getLogger(__name__)
_SECONDS = metrics.STAGE_SECONDS.labels("detect")
_SHARPNESS = {"subject": 1.3, "all": 2.0}
"""A canvas has at least so many times the sides of the network's input, if the photo has: a box of three quarters, or
of a half, of the photo's side is not enlarged. More would cost every photo time: with 2 instead of 1.3, a photo of 800
× 600 pixels is decoded to four times the pixels."""
_ENLARGED = 0.9  # of the detector's input: it may be enlarged a little, for the same reason

Outcome = list[Photo] | Invalid


@dataclass(frozen=True, slots=True)
class Looking:
    """A detector, how its boxes are taken, and the size of the photos that they are cut from."""

    detector: Detector
    plan: DetectPlan
    preprocess: Preprocess
    """Of the recogniser: what every cut-out becomes."""

    @classmethod
    def of(cls, manifest: Manifest, detector: Detector | None) -> Self | None:
        """What a bundle's manifest asks for; None if it asks for no detection.

        Raises:
            ConfigError: the manifest asks for a detector, and this is none or another one.
        """
        plan = manifest.detection or None
        if plan is None:
            return None
        if detector is None or detector.detector_id != plan.detector_id:
            found = "none" if detector is None else detector.detector_id
            text = f"detection: bundle {manifest.model_version} needs detector {plan.detector_id}, there is {found}"
            raise ConfigError(f"{text}; copy the whole bundle, or make it again with `groknet bundle detecting`")
        return cls(detector, plan, manifest.preprocess)

    @property
    def side(self) -> int:
        """The least side of a canvas, in pixels. It follows from the plan, so taggers and search services of one epoch
        cut from canvases of one size."""
        theirs, ours = self.detector.preprocess, self.preprocess
        needed = _SHARPNESS[self.plan.mode] * max(ours.width, ours.height)
        return round(max(needed, _ENLARGED * max(theirs.width, theirs.height)))

    def shrunk(self, canvas: Canvas) -> NDArray[np.uint8]:
        """The whole photo as the detector takes it, uint8 [h, w, 3]."""
        return canvas.cut(None, self.detector.preprocess)

    def found(self, pixels: NDArray[np.uint8], most: int | None = None) -> list[list[Detection]]:
        """What the plan takes of each photo, uint8 [n, h, w, 3] of any n; with `most` up to so many boxes of each,
        whatever the plan's limit is. Raises what the detector raises."""
        step = self.detector.max_batch
        parts = [self.detector.detect(pixels[i : i + step]) for i in range(0, len(pixels), step)]
        return [chosen(one, self.plan, most) for part in parts for one in part]


@dataclass(frozen=True, slots=True)
class Detect:
    """Runs the detector on batches, measures it, and finds the photo that makes it fail. Safe for several threads."""

    looking: Looking
    health: Health

    def boxes(self, photos: Sequence[NDArray[np.uint8]], most: int | None = None) -> list[list[Detection] | Invalid]:
        """What the plan takes of each photo, as `Looking.found` does it, or the reason why the detector cannot process
        the photo. Each photo is what `Looking.shrunk` gives. Blocks.

        Raises:
            DeviceLost: the device is gone; no photo can cause that.
            Exception: the detector failed on its own parity photos as well, so the detector or the device is at fault.
        """
        return run_halving(photos, partial(self._run, most), alone=self._blame, halve_on=Exception)

    def detect(self, photos: Sequence[Photo]) -> list[tuple[Photo, Outcome]]:
        """Give each photo its cut-outs, or itself as a whole where no product is found, or the reason why the detector
        cannot process it. Raises as `boxes`.
        """
        started = time.monotonic()
        outcomes = self.boxes([photo.pixels for photo in photos])
        found = [
            (photo, one if isinstance(one, Invalid) else self._cut(photo, one))
            for photo, one in zip(photos, outcomes, strict=True)
        ]
        _SECONDS.observe(time.monotonic() - started)
        return found

    def _run(self, most: int | None, photos: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        started = time.monotonic()
        try:
            with self.health.batch():
                found = self.looking.found(np.stack(photos), most)
        except Exception as error:
            metrics.DETECT_ERRORS.labels(type(error).__name__).inc()
            if not isinstance(error, DeviceLost):
                _log.warning("the detector failed on a batch of %d photos (%s)", len(photos), error)
            raise
        metrics.DETECT_SECONDS.observe(time.monotonic() - started)
        for boxes in found:
            metrics.BOXES.observe(len(boxes))
        return found

    def _blame(self, photo: NDArray[np.uint8], error: Exception) -> Invalid:
        """The photo failed alone. A detector at fault fails its parity photos in `warm_up`, and the process ends."""
        with self.health.batch():
            self.looking.detector.warm_up()
        return Invalid("detect", "detector_failed", f"the detector failed on this photo alone: {error}")

    def _cut(self, photo: Photo, found: Sequence[Detection]) -> list[Photo]:
        """The photo's boxes as the engine takes them, with its thumbnail at the first one."""
        canvas = photo.canvas
        assert canvas is not None
        parts = []
        for place, box in enumerate([one.box for one in found] or [None]):
            pixels = canvas.cut(box, self.looking.preprocess)
            thumbnail = b"" if place else photo.thumbnail
            edges = None if box is None else astuple(box)
            parts.append(
                Photo(photo.job, photo.image_id, pixels, thumbnail, box=edges, place=place, of=max(1, len(found)))
            )
        return parts
