"""The interface to the CUDA driver, and its errors.

`cuda_bindings` and `pycuda_driver` implement `Driver`; `open` picks one. Handles are plain integers, which both
packages and TensorRT accept. Any thread may call any member inside a `current` block.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Annotated, Protocol

import numpy as np
import numpy.typing as npt
from msgspec import Meta

from schemas.errors import DeviceLost
from schemas.manifest import Strict

OUT_OF_MEMORY = 2
# After one of these results every later call of the process fails too. Numbers and texts of the CUDA driver API.
STICKY = {
    4: "driver shutting down",
    46: "busy or unavailable",
    214: "uncorrectable ECC error",
    220: "uncorrectable NVLink error",
    226: "uncorrectable error contained",
    700: "illegal memory access",
    702: "launch timed out",
    709: "context is destroyed",
    710: "device-side assert",
    714: "hardware stack error",
    715: "illegal instruction",
    716: "misaligned address",
    717: "operation not supported on global/shared address space",
    718: "invalid program counter",
    719: "unspecified launch failure",
    999: "unknown error",
}


class Device(Strict, frozen=True, kw_only=True):
    """A GPU: its name and its compute capability, such as `sm90`."""

    name: str
    capability: Annotated[str, Meta(pattern=r"^sm\d{2,3}$")]


class OutOfDeviceMemory(RuntimeError):
    """The device has too little memory. The process may continue and ask for less."""


class DeviceFault(RuntimeError):
    """A call failed, and no input caused it. The process ends."""


class Driver(Protocol):
    """One GPU. Every call may raise OutOfDeviceMemory, DeviceLost or DeviceFault. Only `synchronize` blocks."""

    @property
    def has_graphs(self) -> bool:
        """Whether `begin_capture`, `end_capture` and `launch` work."""

    def device(self) -> Device:
        """The GPU's name and compute capability."""

    def current(self) -> AbstractContextManager[None]:
        """Make the GPU current for the calling thread inside the block. Blocks may be nested."""

    def allocate(self, size: int) -> int:
        """Allocate `size` bytes on the device and return their address."""

    def release(self, address: int) -> None:
        """Free memory that `allocate` returned."""

    def pinned(self, size: int) -> npt.NDArray[np.uint8]:
        """Allocate page-locked host memory, uint8 [size], which the device copies by itself. It is freed with the
        array."""

    def stream(self) -> int:
        """Create a stream that does not wait for the default stream."""

    def event(self) -> int:
        """Create an event. Waiting for it does not spin."""

    def copy_in(self, address: int, host: npt.NDArray[np.uint8], stream: int) -> None:
        """Enqueue a copy of the whole pinned array `host`, uint8 [n], to the device."""

    def copy_out(self, host: npt.NDArray[np.uint8], address: int, stream: int) -> None:
        """Enqueue a copy from the device that fills the whole pinned array `host`, uint8 [n]."""

    def record(self, event: int, stream: int) -> None:
        """Enqueue the event: it happens when everything before it on the stream is done."""

    def wait(self, stream: int, event: int) -> None:
        """Enqueue a wait: what follows on the stream waits until the event has happened. Without a record, no wait."""

    def synchronize(self, event: int) -> None:
        """Block until the event has happened. Other threads keep running."""

    def begin_capture(self, stream: int) -> None:
        """From now on, capture what is enqueued instead of running it."""

    def end_capture(self, stream: int) -> int:
        """End the capture and return a graph for `launch`."""

    def launch(self, graph: int, stream: int) -> None:
        """Enqueue a captured graph."""

    def check(self) -> None:
        """Raise the device's error, if it has one. Call it after TensorRT reported a failure without a reason."""

    def close(self) -> None:
        """Release the device. Call nothing after it."""


def failure(call: str, code: int, text: str) -> Exception:
    """Return the error for a driver call that returned `code`."""
    if code == OUT_OF_MEMORY:
        return OutOfDeviceMemory(f"{call}: {text}")
    if code in STICKY:
        return lost(f"{call}: {text} (CUDA {code})")
    return DeviceFault(f"{call}: {text} (CUDA {code})")


def lost(what: str) -> DeviceLost:
    """Return the error that says: nothing on this device can work in this process any more."""
    return DeviceLost(
        f"the GPU is lost to this process: {what}; the process ends, and a new one starts clean. If the error returns, "
        "look for Xid lines in dmesg and for ECC errors in nvidia-smi -q"
    )
