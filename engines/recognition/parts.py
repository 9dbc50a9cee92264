"""Runs a batch in parts, for back ends on a CPU. A part's activations fit the caches, and bound the memory."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from engines.recognition.interface import Backend

_FEWEST = 4  # of the demo network, 4 photos cost as little processor time each as 32, and an eighth of the memory
_MOST = 16


def part_size(threads: int | None) -> int:
    """Return how many photos one call of a CPU back end takes: one for each thread, but 4 to 16.

    Args:
        threads: of one engine; None stands for all cores that this process may use.
    """
    return min(max(_FEWEST, threads or usable_cores()), _MOST)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux: a container or taskset may have taken some away
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class InParts:
    """A back end whose batches are computed in parts of at most `most` photos. As safe for threads as `inner` is."""

    def __init__(self, inner: Backend, most: int) -> None:
        self._inner = inner
        self.most = most

    def run(self, photos: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.generic]]:
        """Compute the raw outputs of uint8 [n, h, w, 3]; see `Backend.run`."""
        if len(photos) <= self.most:
            return self._inner.run(photos)
        parts = [self._inner.run(photos[i : i + self.most]) for i in range(0, len(photos), self.most)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def close(self) -> None:
        """See `Backend.close`."""
        self._inner.close()
