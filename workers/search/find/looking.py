"""Looks at a photo of a query: the whole, one part of it, or what the detector finds in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from engines.detection import Detection
from engines.pixels import Box, canvas_input, decode, decode_canvas, is_large
from schemas.errors import Invalid
from schemas.manifest import Manifest
from workers.http.serving import Health
from workers.stages.detect import Detect as Detecting
from workers.stages.detect import Looking

Detect = Literal["off", "subject", "nearest", "all"]
NEAREST_THRESHOLD = 0.2
"""From this score on, a box is worth a look for `nearest`: what it shows decides, not the score. Chosen on validation
photos, where .1 to .3 do equally well (docs/benchmarks/detection.md)."""


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
    """Decodes photos of queries, and finds their products where there is a detector. Thread-safe.

    Where the epoch's bundle has the detector, every part is cut from a canvas of the size that a tagger cuts from. So
    the same box of the same photo is the same pixels on both sides. Elsewhere the listings were decoded whole, and a
    box of a request is cut from a decode of its own scale, which keeps small boxes sharp.
    """

    def __init__(self, manifest: Manifest, looking: Looking | None, max_boxes: int, health: Health) -> None:
        """`health` fails if the detector or its device is at fault."""
        self._preprocess = manifest.preprocess
        self._looking = looking
        self._detecting = None if looking is None else Detecting(looking, health)
        self._detecting_more = None if looking is None else Detecting(_with_more_boxes(looking), health)
        self._as_stored = bool(manifest.detection)
        self._max_boxes = max_boxes
        self._health = health

    @property
    def has_detector(self) -> bool:
        """Whether products can be looked for."""
        return self._looking is not None

    def is_large(self, data: bytes, detect: Detect) -> bool:
        """Whether the decode needs much memory; see `engines.pixels.is_large`."""
        looking = self._canvas_of(detect)
        return is_large(data, self._preprocess if looking is None else canvas_input(looking.side))

    def view(self, data: bytes, box: Box | None, detect: Detect) -> View:
        """The part inside `box` if one is given; else the whole photo, its most confident box, or all of its boxes. A
        photo without a box counts as a whole. `nearest` is all boxes and then the whole photo. Blocks.

        Raises:
            Invalid: as `decode`, or the detector cannot process the photo.
            Exception: the detector or its device is at fault, as in `workers.stages.detect.Detect.boxes`. `health` has
                failed then.
        """
        looking = self._canvas_of("off" if box is not None else detect)
        if looking is None:
            return View([Part(decode(data, self._preprocess, box=box), box)])
        canvas, _ = decode_canvas(data, looking.side)
        if box is not None or detect == "off":
            return View([Part(canvas.cut(box, self._preprocess), box)])
        found = self._found(looking.shrunk(canvas), detect)
        taken = found[:1] if detect == "subject" else found
        parts = [Part(canvas.cut(one.box, self._preprocess), one.box, one) for one in taken]
        if detect == "nearest" or not parts:
            parts.append(Part(canvas.cut(None, self._preprocess)))
        return View(parts, found)

    def _canvas_of(self, detect: Detect) -> Looking | None:
        """What parts are cut from a canvas for; None if the photo is decoded to the network's input at once."""
        return self._looking if self._as_stored or detect != "off" else None

    def _found(self, pixels: NDArray[np.uint8], detect: Detect) -> list[Detection]:
        detecting = self._detecting_more if detect == "nearest" else self._detecting
        assert detecting is not None
        try:
            (found,) = detecting.boxes([pixels], self._max_boxes)
        except Exception as error:  # a restart has to repair it, as where the engine fails
            self._health.fail(error)
            raise
        if isinstance(found, Invalid):
            raise found
        return found


def _with_more_boxes(looking: Looking) -> Looking:
    threshold = min(looking.plan.threshold, NEAREST_THRESHOLD)
    return replace(looking, plan=msgspec.structs.replace(looking.plan, threshold=threshold))
