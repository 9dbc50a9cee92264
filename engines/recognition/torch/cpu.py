"""The torch back end on a CPU. It runs the graph uncompiled, because compiling gains nothing there."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt
import torch

from engines.recognition.bundles.bundle import Bundle
from engines.recognition.torch.graph import Graph, load_graph


class TorchCpu:
    """See `Backend`. It runs one batch at a time, because torch uses every core for one batch."""

    def __init__(self, bundle: Bundle, threads: int | None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self._outputs = list(bundle.outputs)
        self._graph = Graph(load_graph(bundle), self._outputs).eval()
        self._lock = threading.Lock()

    def run(self, photos: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.generic]]:
        """Compute the raw outputs of uint8 [n, h, w, 3]; see `Backend.run`."""
        with self._lock, torch.inference_mode():
            values = self._graph(torch.from_numpy(photos))
        return {name: value.numpy() for name, value in zip(self._outputs, values, strict=True)}

    def close(self) -> None:
        """See `Backend.close`."""
        del self._graph
