"""Checks that a back end computes what was exported, by comparing its answers for the parity photos."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from engines.recognition.bundles.bundle import Bundle, check_output
from schemas.errors import BundleRefused

_REMEDY = "the weights or the back end are not those of the export; fetch or export the bundle again"


def check_parity(bundle: Bundle, outputs: Mapping[str, npt.NDArray[np.generic]]) -> None:
    """Compare a back end's raw outputs for the parity photos with the exported outputs.

    Args:
        bundle: has the parity photos and the expected outputs.
        outputs: by output name an array [photos, width] of the dtype in `bundle.outputs`, one row for each parity
            photo.

    Raises:
        BundleRefused: an output is missing or has the wrong shape, a probability or embedding value differs by more
            than the manifest's tolerance or is not a number, or a hash differs in more than `hash_bits` bits.
    """
    manifest = bundle.manifest
    for name, (width, dtype) in bundle.outputs.items():
        check_output(f"model.onnx: {name}", outputs.get(name), (len(bundle.photos), width), dtype)
    for name in bundle.outputs:
        got, expected = outputs[name], bundle.expected[name]
        if name == manifest.hash.output:
            flips = int(np.bitwise_count(got.astype(np.uint8) ^ expected.astype(np.uint8)).sum(axis=1).max())
            if flips > manifest.parity.hash_bits:
                raise BundleRefused(
                    f"parity.{name}: {flips} bits differ, at most {manifest.parity.hash_bits}; {_REMEDY}"
                )
            continue
        tolerance = manifest.parity.embedding if name == manifest.embedding.output else manifest.parity.probabilities
        worst = float(np.abs(got.astype(np.float64) - expected.astype(np.float64)).max())
        if not worst <= tolerance:  # written this way so that not-a-number is refused
            raise BundleRefused(f"parity.{name}: differs by {worst:.2g}, at most {tolerance:g}; {_REMEDY}")
