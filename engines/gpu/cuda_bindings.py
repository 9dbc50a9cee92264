"""The driver through NVIDIA's cuda-bindings, whose functions return the result code first."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from cuda.bindings import driver as cu

from engines.gpu.driver import Device, failure
from schemas.errors import ConfigError


class CudaBindings:
    """See `driver.Driver`. It uses the device's primary context, as TensorRT does."""

    has_graphs = True

    def __init__(self, ordinal: int) -> None:
        try:
            _call("cuInit", 0)
        except RuntimeError as error:  # also the error of its loader, when there is no driver
            raise ConfigError(f"cuda-bindings: {str(error).splitlines()[0]}") from None
        if ordinal >= _call("cuDeviceGetCount"):
            raise ConfigError(f"cuda-bindings: there is no GPU number {ordinal}")
        self._device = _call("cuDeviceGet", ordinal)
        self._context = _call("cuDevicePrimaryCtxRetain", self._device)
        self._handles: dict[int, Any] = {}

    def device(self) -> Device:
        """See `Driver.device`."""
        name = bytes(_call("cuDeviceGetName", 256, self._device)).split(b"\0")[0].decode()
        attribute = cu.CUdevice_attribute
        major = _call("cuDeviceGetAttribute", attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, self._device)
        minor = _call("cuDeviceGetAttribute", attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, self._device)
        return Device(name=name, capability=f"sm{major}{minor}")

    @contextmanager
    def current(self) -> Iterator[None]:
        """See `Driver.current`."""
        _call("cuCtxSetCurrent", self._context)  # it stays current: the next block need not set it again
        yield

    def allocate(self, size: int) -> int:
        """See `Driver.allocate`."""
        return int(_call("cuMemAlloc", size))

    def release(self, address: int) -> None:
        """See `Driver.release`."""
        _call("cuMemFree", address)

    def pinned(self, size: int) -> npt.NDArray[np.uint8]:
        """See `Driver.pinned`."""
        address = int(_call("cuMemHostAlloc", size, 0))
        memory = (ctypes.c_uint8 * size).from_address(address)
        weakref.finalize(memory, cu.cuMemFreeHost, address)
        return np.ndarray((size,), np.uint8, buffer=memoryview(memory).cast("B"))

    def stream(self) -> int:
        """See `Driver.stream`."""
        return self._keep(_call("cuStreamCreate", int(cu.CUstream_flags.CU_STREAM_NON_BLOCKING)))

    def event(self) -> int:
        """See `Driver.event`."""
        flags = cu.CUevent_flags.CU_EVENT_BLOCKING_SYNC | cu.CUevent_flags.CU_EVENT_DISABLE_TIMING
        return self._keep(_call("cuEventCreate", int(flags)))

    def copy_in(self, address: int, host: npt.NDArray[np.uint8], stream: int) -> None:
        """See `Driver.copy_in`."""
        _call("cuMemcpyHtoDAsync", address, host.ctypes.data, host.nbytes, self._handles[stream])

    def copy_out(self, host: npt.NDArray[np.uint8], address: int, stream: int) -> None:
        """See `Driver.copy_out`."""
        _call("cuMemcpyDtoHAsync", host.ctypes.data, address, host.nbytes, self._handles[stream])

    def record(self, event: int, stream: int) -> None:
        """See `Driver.record`."""
        _call("cuEventRecord", self._handles[event], self._handles[stream])

    def wait(self, stream: int, event: int) -> None:
        """See `Driver.wait`."""
        _call("cuStreamWaitEvent", self._handles[stream], self._handles[event], 0)

    def synchronize(self, event: int) -> None:
        """See `Driver.synchronize`."""
        _call("cuEventSynchronize", self._handles[event])

    def begin_capture(self, stream: int) -> None:
        """See `Driver.begin_capture`."""
        # thread local: another thread's calls do not end this capture
        mode = cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        _call("cuStreamBeginCapture", self._handles[stream], mode)

    def end_capture(self, stream: int) -> int:
        """See `Driver.end_capture`."""
        graph = _call("cuStreamEndCapture", self._handles[stream])
        return self._keep(_call("cuGraphInstantiate", graph, 0))

    def launch(self, graph: int, stream: int) -> None:
        """See `Driver.launch`."""
        _call("cuGraphLaunch", self._handles[graph], self._handles[stream])

    def kernel(self, source: str, name: str) -> Any:
        """Compile the CUDA C function `name` for this device with NVRTC. Raises ConfigError if NVRTC cannot."""
        try:
            from cuda.bindings import nvrtc

            program = _checked(nvrtc.nvrtcCreateProgram(source.encode(), f"{name}.cu".encode(), 0, [], []))
            options = [f"--gpu-architecture=compute_{self.device().capability[2:]}".encode()]
            _checked(nvrtc.nvrtcCompileProgram(program, len(options), options))
            compiled = b" " * _checked(nvrtc.nvrtcGetPTXSize(program))
            _checked(nvrtc.nvrtcGetPTX(program, compiled))
        except (ImportError, RuntimeError) as error:  # RuntimeError: also when its library is missing
            text = str(error).partition("\n")[0]
            raise ConfigError(f"NVRTC cannot compile {name} ({text}); pip install 'groknet[gpu]'") from None
        return _call("cuModuleGetFunction", _call("cuModuleLoadData", compiled), name.encode())

    def start(self, kernel: Any, grid: tuple[int, int], block: tuple[int, int], arguments: Any, stream: int) -> None:
        """Enqueue a kernel over a plane of blocks. `arguments` has their values, and their ctypes in the same order."""
        _call("cuLaunchKernel", kernel, *grid, 1, *block, 1, 0, self._handles[stream], arguments, 0)

    def check(self) -> None:
        """See `Driver.check`."""
        _call("cuCtxSynchronize")

    def close(self) -> None:
        """See `Driver.close`."""
        self._handles.clear()
        _call("cuDevicePrimaryCtxRelease", self._device)

    def _keep(self, handle: Any) -> int:
        """Return a handle's number, and keep the object as long as the driver lives."""
        self._handles[int(handle)] = handle
        return int(handle)


def _checked(results: tuple[Any, ...]) -> Any:
    """Return the value after an NVRTC result code. Raises RuntimeError with the code's name."""
    if int(results[0]) != 0:
        raise RuntimeError(results[0].name)
    return results[1] if len(results) > 1 else None


def _call(name: str, *arguments: Any) -> Any:
    """Call the driver and return what follows the result code: one value, or a list of them."""
    code, *values = vars(cu)[name](*arguments)
    if int(code) != 0:
        known, text = cu.cuGetErrorString(code)
        raise failure(name, int(code), text.decode() if int(known) == 0 else code.name)
    return values[0] if len(values) == 1 else values
