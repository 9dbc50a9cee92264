"""The interfaces of this room: the engine that callers use, the back end that an engine wraps, and what it opens."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from engines.recognition.outputs.predictions import Predictions
from schemas.manifest import Head, Manifest


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


class GraphManifest(Protocol):
    """What a back end needs to know of a graph. The manifests of recognisers and of detectors both say it."""

    @property
    def name(self) -> str:
        """Of the bundle."""

    @property
    def model_version(self) -> str:
        """Of the bundle."""

    @property
    def epoch(self) -> str:
        """12 hex digits that change with what the graph computes."""

    @property
    def input(self) -> str:
        """The name of the graph's input."""

    @property
    def precision(self) -> str:
        """`fp32`, `fp16` or `int8`."""

    @property
    def heads(self) -> Sequence[Head]:
        """The heads whose long outputs a GPU may cut; a detector has none."""

    @property
    def top_k(self) -> int:
        """How many labels of a head are served."""

    @property
    def files(self) -> dict[str, str]:
        """File name → sha256."""


class GraphBundle(Protocol):
    """A bundle as a back end sees it: a graph and what its manifest says of it."""

    @property
    def folder(self) -> Path:
        """The bundle's folder."""

    @property
    def manifest(self) -> GraphManifest:
        """What the back end must know."""

    @property
    def model_path(self) -> Path:
        """The path of the graph."""

    @property
    def outputs(self) -> Collection[str]:
        """The names of the outputs to compute."""

    def check_graph_outputs(self, names: Collection[str]) -> None:
        """Raise BundleRefused unless the graph, whose outputs are called `names`, has every output of the manifest."""


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
