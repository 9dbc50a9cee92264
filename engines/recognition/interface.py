"""The two interfaces of this room: the engine that callers use, and the back end that an engine wraps."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from engines.recognition.outputs.predictions import Predictions
from schemas.manifest import Manifest


class RecognitionEngine(Protocol):
    """A bundle that passed its parity check on this machine. Every member is safe to call from several threads."""

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest. It never changes."""

    @property
    def backend(self) -> str:
        """The name of the back end that computes: one of BACKENDS."""

    @property
    def max_batch(self) -> int:
        """The most photos that one `infer` takes."""

    def warm_up(self) -> None:
        """Run the parity photos again, then the largest batch, so that the first real photo is not slow. Blocks.

        An engine that has served nothing since its last check does not repeat that check. One that computes a batch in
        parts runs its largest part.

        Raises:
            BundleRefused: parity no longer holds. The device is at fault, not a photo.
        """

    def infer(self, photos: npt.NDArray[np.uint8]) -> Predictions:
        """Predict for a batch. Blocks.

        Args:
            photos: uint8 [n, height, width, 3], 1 <= n <= max_batch, as `engines/pixels` makes them.

        Raises:
            ValueError: wrong dtype, shape or n. The caller is at fault, not a photo.
            Invalid: stage `engine`, error `non_finite`: one photo of the batch gave not-a-number. Halve the batch to
                find it (`bisect.run_halving`).
        """

    def close(self) -> None:
        """Release the back end. A later `infer` raises RuntimeError. A second call does nothing."""


class Backend(Protocol):
    """One library that computes the graph. Thread-safe."""

    def run(self, photos: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.generic]]:
        """Compute the raw outputs of a batch whose dtype and shape the engine has checked.

        Args:
            photos: uint8 [n, height, width, 3].

        Returns:
            One array for each output name, with one row for each photo. A back end may return only the best labels of
            a head; `tops` describes the two arrays that then replace the head's output.
        """

    def close(self) -> None:
        """Release what the back end holds."""
