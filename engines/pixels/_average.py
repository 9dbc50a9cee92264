"""Averages photos down on the GPU, so that a sixteenth of the bytes comes back. The kernel is `average.cu`."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.gpu.cuda_bindings import CudaBindings

_BLOCK = (32, 8)  # threads: one warp along a row, whose pixels are adjacent
_TYPES = (
    ctypes.c_void_p,
    ctypes.c_longlong,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_int,
)


class Average:
    """A kernel, a stream, and buffers that grow to the largest batch. For one thread at a time.

    Raises:
        ConfigError: NVRTC cannot compile the kernel.
        OutOfDeviceMemory, DeviceLost, DeviceFault: the GPU failed.
    """

    def __init__(self, driver: CudaBindings) -> None:
        self._driver = driver
        source = resources.files("engines.pixels").joinpath("average.cu").read_text(encoding="utf-8")
        with driver.current():
            self._kernel = driver.kernel(source, "average")
            self.stream, self._done = driver.stream(), driver.event()
        self._device, self._host = 0, np.empty(0, np.uint8)

    def bring(self, photos: Sequence[tuple[Mapping[str, Any], int]]) -> list[npt.NDArray[np.uint8]]:
        """Average photos down and bring them to the host. Blocks.

        Args:
            photos: for each photo its `__cuda_array_interface__`, uint8 [height, width, 3], and the scale. What writes
                the photos must be enqueued on `stream` already.

        Returns:
            For each photo the means, uint8 [ceil(height / scale), ceil(width / scale), 3].
        """
        shapes = [(-(-p["shape"][0] // scale), -(-p["shape"][1] // scale), 3) for p, scale in photos]
        ends = np.cumsum([np.prod(shape) for shape in shapes], dtype=np.int64).tolist()
        driver = self._driver
        with driver.current():
            self._hold(ends[-1])
            for (photo, scale), (down, across, _), start in zip(photos, shapes, [0, *ends], strict=False):
                height, width = photo["shape"][:2]
                pitch = (photo.get("strides") or (3 * width,))[0]
                values = (photo["data"][0], pitch, width, height, scale, self._device + start, across, down)
                grid = (-(-across // _BLOCK[0]), -(-down // _BLOCK[1]))
                driver.start(self._kernel, grid, _BLOCK, (values, _TYPES), self.stream)
            driver.copy_out(self._host[: ends[-1]], self._device, self.stream)
            driver.record(self._done, self.stream)
            driver.synchronize(self._done)
        parts = zip(shapes, [0, *ends], ends, strict=False)
        return [self._host[start:end].reshape(shape).copy() for shape, start, end in parts]

    def _hold(self, size: int) -> None:
        if size <= len(self._host):
            return
        if self._device:
            self._driver.release(self._device)
            self._device = 0
        self._device, self._host = self._driver.allocate(size), self._driver.pinned(size)
