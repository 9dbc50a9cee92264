"""What every detector gives: boxes around the products in a photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from engines.pixels import Box
from schemas.manifest import Preprocess


@dataclass(frozen=True, slots=True)
class Detection:
    """One product in a photo.

    Attributes:
        box: where it is in the upright photo.
        kind: its class, one of the detector's kinds. The kind `product` stands for any product.
        score: the detector's confidence, 0 to 1.
    """

    box: Box
    kind: str
    score: float


class Detector(Protocol):
    """A detector bundle that passed its parity check on this machine. Safe to call from several threads."""

    @property
    def detector_id(self) -> str:
        """12 hex digits that change with the weights, the thresholds in the graph and the preprocessing."""

    @property
    def preprocess(self) -> Preprocess:
        """How a photo becomes the detector's input. Its mode is `squash`, so shares of the input are shares of the
        photo."""

    @property
    def max_batch(self) -> int:
        """The most photos that one `detect` takes."""

    def warm_up(self) -> None:
        """Run the parity photos and the largest batch, so that the first real photo is not slow. Blocks.

        Raises:
            BundleRefused: parity does not hold on this device.
        """

    def detect(self, photos: npt.NDArray[np.uint8]) -> list[list[Detection]]:
        """The products in each photo, the most confident first; an empty list for a photo without any. Blocks.

        Args:
            photos: uint8 [n, height, width, 3], 1 <= n <= max_batch, as `engines/pixels` makes them by `preprocess`.

        Raises:
            ValueError: wrong dtype, shape or n.
        """

    def close(self) -> None:
        """Release the back end. A later `detect` raises RuntimeError. A second call does nothing."""
