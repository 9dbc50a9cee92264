"""The parity gate: how much an engine of lower precision differs from the float graph, and whether that is too much.

`check_parity` compares arrays within rounding. FP16 and INT8 change more than that. The gate therefore measures what a
caller would notice: another best label, another probability, another bit, another nearest neighbour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from engines.recognition.bundles.bundle import Bundle, check_output
from engines.recognition.outputs.calibration import Calibrator
from schemas.errors import BundleRefused
from schemas.manifest import Gate, Manifest

Outputs = Mapping[str, npt.NDArray[np.generic]]
_AT_LEAST = frozenset({"label_agreement", "head_agreement"})  # the others are at most


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The differences from the float graph. The field of the same name in `schemas.manifest.Gate` bounds each.

    Attributes:
        photos: how many photos were compared.
        label_agreement: share of equal best labels over photos and heads.
        head_agreement: the same for the worst head.
        probability_mean: mean absolute difference of the calibrated probability of the float graph's best label.
        probability_worst: largest absolute difference of any calibrated probability, or of any p(applies).
        embedding: largest Euclidean distance of a photo's two embeddings, which are unit vectors.
        hash_flips: share of bits that differ.
        hash_column: share of photos in which the worst bit differs.
        recall_at_1: the loss of Recall@1 by hash, negative for a gain; None without identities.
    """

    photos: int
    label_agreement: float
    head_agreement: float
    probability_mean: float
    probability_worst: float
    embedding: float
    hash_flips: float
    hash_column: float
    recall_at_1: float | None = None


def compare(
    manifest: Manifest, expected: Outputs, outputs: Outputs, identities: npt.NDArray[np.generic] | None = None
) -> Figures:
    """Compare raw outputs for the same photos.

    Args:
        manifest: names the outputs and has the calibration.
        expected: the float graph's outputs by name, one row for each photo.
        outputs: the engine's outputs, in the same form.
        identities: [n], equal where two photos show the same product; None skips Recall@1.
    """
    agreement, of_best, worst = [], [], 0.0
    for head in manifest.heads:
        calibrator = Calibrator(head, manifest.top_k)
        raw, raw_too = expected[head.output].astype(np.float32), outputs[head.output].astype(np.float32)
        difference = np.abs(calibrator.calibrate(raw) - calibrator.calibrate(raw_too))
        best = raw.argmax(axis=1)
        agreement.append(float((best == raw_too.argmax(axis=1)).mean()))
        of_best.append(float(np.take_along_axis(difference, best[:, None], axis=1).mean()))
        worst = max(worst, float(difference.max())) if np.isfinite(difference).all() else float("nan")
    if manifest.applicability is not None:
        name = manifest.applicability.output
        moved = np.abs(expected[name].astype(np.float64) - outputs[name].astype(np.float64))
        worst = max(worst, float(moved.max())) if np.isfinite(moved).all() else float("nan")
    name = manifest.embedding.output
    apart = np.linalg.norm(expected[name].astype(np.float64) - outputs[name].astype(np.float64), axis=1)
    codes, codes_too = (side[manifest.hash.output].astype(np.uint8) for side in (expected, outputs))
    flips = np.unpackbits(codes ^ codes_too, axis=1)
    lost = None if identities is None else recall_at_1(codes, identities) - recall_at_1(codes_too, identities)
    return Figures(
        photos=len(codes),
        label_agreement=float(np.mean(agreement)) if agreement else 1.0,
        head_agreement=min(agreement, default=1.0),
        probability_mean=float(np.mean(of_best)) if of_best else 0.0,
        probability_worst=worst,
        embedding=float(apart.max()),
        hash_flips=float(flips.mean()),
        hash_column=float(flips.mean(axis=0).max()),
        recall_at_1=lost,
    )


def recall_at_1(codes: npt.NDArray[np.uint8], identities: npt.NDArray[np.generic]) -> float:
    """Return the share of photos whose nearest other photo by Hamming distance shows the same product.

    A photo that is the only one of its product is no query, but it may be found. Several nearest photos share the hit,
    so the order of the photos does not matter.

    Args:
        codes: uint8 [n, bytes].
        identities: [n].
    """
    hits = []
    same = identities[:, None] == identities[None, :]
    np.fill_diagonal(same, False)
    for i in np.flatnonzero(same.any(axis=1)):
        distance = np.bitwise_count(codes ^ codes[i]).sum(axis=1, dtype=np.int64)
        distance[i] = np.iinfo(np.int64).max
        hits.append(same[i, distance == distance.min()].mean())
    return float(np.mean(hits)) if hits else 0.0


def refuse(figures: Figures, limits: Gate) -> None:
    """Raise BundleRefused, with figure and limit, if a figure is beyond its limit. Not-a-number is beyond every one."""
    for name, value in asdict(figures).items():
        if name == "photos" or value is None:
            continue
        limit = getattr(limits, name)
        kept = value >= limit if name in _AT_LEAST else value <= limit
        if not kept:
            side = "at least" if name in _AT_LEAST else "at most"
            raise BundleRefused(
                f"gate.{name}: {value:.4g}, {side} {limit:g} over {figures.photos} photos; this engine differs "
                "from the network: build it again, calibrate on photos like yours, or take a higher precision"
            )


def judge(bundle: Bundle, outputs: Outputs) -> Figures:
    """Compare an engine's outputs for the parity photos with the float graph's.

    Raises:
        BundleRefused: an output is missing or has the wrong shape, or a figure is beyond its limit.
    """
    for name, (width, dtype) in bundle.outputs.items():
        check_output(f"model.onnx: {name}", outputs.get(name), (len(bundle.photos), width), dtype)
    figures = compare(bundle.manifest, bundle.expected, outputs)
    refuse(figures, bundle.manifest.gate)
    return figures
