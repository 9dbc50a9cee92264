"""Checks that a back end finds the boxes that were recorded at export, within the manifest's tolerances."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from engines.detection.bundle import DetectorBundle, check_answers
from schemas.detector_manifest import BOXES, KINDS, SCORES, DetectorManifest
from schemas.errors import BundleRefused

Answers = Mapping[str, npt.NDArray[np.generic]]
_REMEDY = "the weights or the back end are not those of the export; fetch or export the bundle again"


def check_detector_parity(bundle: DetectorBundle, outputs: Answers) -> None:
    """Compare a back end's answers for the parity photos with the recorded ones.

    Raises:
        BundleRefused: an output is missing or has the wrong shape, a number is not finite, or too many boxes differ.
            The message has the figure and its limit.
    """
    manifest = bundle.manifest
    check_answers("model.onnx: ", dict(outputs), manifest, len(bundle.photos))
    for name in (BOXES, SCORES):
        if not np.isfinite(outputs[name].astype(np.float64)).all():
            raise BundleRefused(f"parity.{name}: not a number for a parity photo; {_REMEDY}")
    for what, ours, theirs in (
        ("recorded boxes that are found", bundle.expected, outputs),
        ("boxes found that are recorded", outputs, bundle.expected),
    ):
        share = share_found(manifest, ours, theirs)
        if share < manifest.parity.found:
            raise BundleRefused(f"parity: {share:.3f} of the {what}, at least {manifest.parity.found:g}; {_REMEDY}")


def share_found(manifest: DetectorManifest, wanted: Answers, there: Answers) -> float:
    """The share of the boxes of `wanted` that `there` has as well: well placed, with nearly the same score and the same
    kind. Boxes near the graph's threshold do not count; 1 if none counts."""
    limits, least = manifest.parity, manifest.nms.score + manifest.parity.margin
    hits, count = 0, 0
    for place in range(len(wanted[SCORES])):
        chosen = wanted[SCORES][place] >= least
        boxes, scores = wanted[BOXES][place][chosen], wanted[SCORES][place][chosen]
        kinds = wanted[KINDS][place][chosen]
        alike = overlaps(boxes, there[BOXES][place]) >= limits.overlap
        near = np.abs(scores.astype(np.float64)[:, None] - there[SCORES][place].astype(np.float64)) <= limits.score
        same = kinds[:, None] == there[KINDS][place][None]
        hits += int((alike & near & same & (there[SCORES][place] > 0)[None]).any(axis=1).sum())
        count += len(boxes)
    return hits / count if count else 1.0


def overlaps(a: npt.NDArray[np.generic], b: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """IoU of every box of `a` [k, 4] with every box of `b` [m, 4] (left, top, right, bottom): [k, m], 0 for boxes
    without an area."""
    one, two = a.astype(np.float64)[:, None], b.astype(np.float64)[None]
    low, high = np.maximum(one[..., :2], two[..., :2]), np.minimum(one[..., 2:], two[..., 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)
    union = (one[..., 2:] - one[..., :2]).prod(axis=2) + (two[..., 2:] - two[..., :2]).prod(axis=2) - shared
    found: npt.NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found
