"""Which of a photo's detections are described: the subject alone, or all of them, each with some padding."""

from __future__ import annotations

import math
from collections.abc import Sequence

from engines.detection.interface import Detection
from engines.pixels import Box
from schemas.boxes import DIGITS, DetectPlan

_SCALE = float(10**DIGITS)


def chosen(detections: Sequence[Detection], plan: DetectPlan, most: int | None = None) -> list[Detection]:
    """The detections that the plan takes, the most confident first, with padded boxes; empty if none is sure enough.

    Args:
        detections: of one photo, the most confident first.
        most: take up to so many, whatever the plan's mode and limit are.
    """
    if most is None:
        most = 1 if plan.mode == "subject" else plan.most_boxes
    sure = [one for one in detections if one.score >= plan.threshold][:most]
    return [Detection(padded(one.box, plan.padding), one.kind, one.score) for one in sure]


def padded(box: Box, padding: float) -> Box:
    """The box, wider on each side by this share of its own width and height, inside the photo. Its edges have four
    decimals, rounded outwards."""
    across, down = padding * (box.right - box.left), padding * (box.bottom - box.top)
    return Box(
        left=_down(box.left - across),
        top=_down(box.top - down),
        right=_up(box.right + across),
        bottom=_up(box.bottom + down),
    )


def _down(edge: float) -> float:
    return max(0, math.floor(round(edge * _SCALE, 6))) / _SCALE


def _up(edge: float) -> float:
    return min(_SCALE, math.ceil(round(edge * _SCALE, 6))) / _SCALE
