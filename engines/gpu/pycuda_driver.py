"""The driver through pycuda. It raises errors of its own and has no CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pycuda.driver as cuda

from engines.gpu.driver import OUT_OF_MEMORY, STICKY, Device, DeviceFault, failure
from schemas.errors import ConfigError

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING; pycuda does not name it


class PyCuda:
    """See `driver.Driver`. It uses the device's primary context, as TensorRT does."""

    has_graphs = False

    def __init__(self, ordinal: int) -> None:
        try:
            cuda.init()
            self._device = cuda.Device(ordinal)
        except cuda.Error as error:
            raise ConfigError(f"pycuda: {error}") from None
        self._context = self._device.retain_primary_context()
        self._kept: dict[int, Any] = {}

    def device(self) -> Device:
        """See `Driver.device`."""
        major, minor = self._device.compute_capability()
        return Device(name=self._device.name(), capability=f"sm{major}{minor}")

    @contextmanager
    def current(self) -> Iterator[None]:
        """See `Driver.current`."""
        # pushed and popped each time: a thread that ends with a context on its stack ends the process
        _call(self._context.push)
        try:
            yield
        finally:
            cuda.Context.pop()

    def allocate(self, size: int) -> int:
        """See `Driver.allocate`."""
        memory = _call(cuda.mem_alloc, size)
        self._kept[int(memory)] = memory
        return int(memory)

    def release(self, address: int) -> None:
        """See `Driver.release`."""
        _call(self._kept.pop(address).free)

    def pinned(self, size: int) -> npt.NDArray[np.uint8]:
        """See `Driver.pinned`."""
        array: npt.NDArray[np.uint8] = _call(cuda.pagelocked_empty, size, np.uint8)
        return array

    def stream(self) -> int:
        """See `Driver.stream`."""
        stream = _call(cuda.Stream, _NON_BLOCKING)
        self._kept[int(stream.handle)] = stream
        return int(stream.handle)

    def event(self) -> int:
        """See `Driver.event`."""
        flags = cuda.event_flags
        event = _call(cuda.Event, flags.BLOCKING_SYNC | flags.DISABLE_TIMING)
        self._kept[id(event)] = event
        return id(event)

    def copy_in(self, address: int, host: npt.NDArray[np.uint8], stream: int) -> None:
        """See `Driver.copy_in`."""
        _call(cuda.memcpy_htod_async, address, host, self._kept[stream])

    def copy_out(self, host: npt.NDArray[np.uint8], address: int, stream: int) -> None:
        """See `Driver.copy_out`."""
        _call(cuda.memcpy_dtoh_async, host, address, self._kept[stream])

    def record(self, event: int, stream: int) -> None:
        """See `Driver.record`."""
        _call(self._kept[event].record, self._kept[stream])

    def wait(self, stream: int, event: int) -> None:
        """See `Driver.wait`."""
        _call(self._kept[stream].wait_for_event, self._kept[event])

    def synchronize(self, event: int) -> None:
        """See `Driver.synchronize`."""
        _call(self._kept[event].synchronize)

    def begin_capture(self, stream: int) -> None:
        """See `Driver.begin_capture`."""
        raise DeviceFault("pycuda has no CUDA graphs; install cuda-bindings")

    def end_capture(self, stream: int) -> int:
        """See `Driver.end_capture`."""
        raise DeviceFault("pycuda has no CUDA graphs; install cuda-bindings")

    def launch(self, graph: int, stream: int) -> None:
        """See `Driver.launch`."""
        raise DeviceFault("pycuda has no CUDA graphs; install cuda-bindings")

    def check(self) -> None:
        """See `Driver.check`."""
        _call(cuda.Context.synchronize)

    def close(self) -> None:
        """See `Driver.close`."""
        with self.current():
            self._kept.clear()


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except cuda.MemoryError as error:
        raise failure("pycuda", OUT_OF_MEMORY, str(error)) from None
    except cuda.Error as error:
        raise failure("pycuda", code_of(str(error)), str(error)) from None


def code_of(text: str) -> int:
    """Return the driver's number for an error text of pycuda; 1 (invalid value) for an error that does not last."""
    return next((code for code, part in STICKY.items() if part in text.lower()), 1)
