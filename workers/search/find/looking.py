"""Looks at a photo of a query: the whole, one part of it, or what the detector finds in it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engines.detection import Detection
from engines.pixels import Box, canvas_input, decode, decode_canvas, is_large
from schemas.errors import DeviceLost, Invalid
from schemas.manifest import Preprocess
from workers import metrics
from workers.stages.detect import Looking

_log = logging.getLogger(__name__)
Detect = Literal["off", "subject", "all"]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a photo, ready for the engine: pixels uint8 [h, w, 3], where it is (None: the whole photo), and what
    the detector says of it, if it was the detector that found it."""

    pixels: NDArray[np.uint8]
    box: Box | None = None
    found: Detection | None = None


@dataclass(frozen=True, slots=True)
class View:
    """What a photo shows: the parts to recognise, and all boxes that were found in it, the most confident first."""

    parts: list[Part]
    found: Sequence[Detection] = ()


class QueryPhotos:
    """Decodes photos of queries, and finds their products where there is a detector. Thread-safe."""

    def __init__(self, preprocess: Preprocess, looking: Looking | None, max_boxes: int) -> None:
        self._preprocess = preprocess
        self._looking = None
        if looking is not None:
            plan = msgspec.structs.replace(looking.plan, mode="all", most_boxes=max_boxes)
            self._looking = Looking(looking.detector, plan, preprocess)

    @property
    def has_detector(self) -> bool:
        """Whether products can be looked for."""
        return self._looking is not None

    def is_large(self, data: bytes, detect: Detect) -> bool:
        """Whether the decode needs much memory; see `engines.pixels.is_large`."""
        looks = detect != "off" and self._looking is not None
        return is_large(data, canvas_input(self._looking.side) if looks and self._looking else self._preprocess)

    def view(self, data: bytes, box: Box | None, detect: Detect) -> View:
        """The part inside `box` if one is given; else the whole photo, its most confident box, or all of its boxes. A
        photo without a box counts as a whole. Blocks; raises Invalid as `decode`, and if the detector fails on it."""
        looking = self._looking
        if box is not None or detect == "off" or looking is None:
            return View([Part(decode(data, self._preprocess, box=box), box)])
        canvas, _ = decode_canvas(data, looking.side)
        with metrics.DETECT_SECONDS.time():
            found = _found(looking, looking.shrunk(canvas))
        metrics.BOXES.observe(len(found))
        taken = found if detect == "all" else found[:1]
        parts = [Part(canvas.cut(one.box, self._preprocess), one.box, one) for one in taken]
        return View(parts or [Part(canvas.cut(None, self._preprocess))], found)


def _found(looking: Looking, pixels: NDArray[np.uint8]) -> list[Detection]:
    """What is found in one photo, uint8 [h, w, 3].

    Raises:
        Invalid: the detector fails on this photo, and not on its own parity photos.
        Exception: it fails on these as well, so the detector or the device is at fault.
    """
    try:
        (found,) = looking.found(pixels[None])
    except Exception as error:
        metrics.DETECT_ERRORS.labels(type(error).__name__).inc()
        if isinstance(error, DeviceLost):
            raise
        _log.warning("the detector failed on a photo of a search (%s)", error)
        looking.detector.warm_up()
        text = "the detector fails on it; send another one, or this one with detect=off"
        raise Invalid("detect", "detector_failed", text) from error
    return found
