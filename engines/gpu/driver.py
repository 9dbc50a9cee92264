"""The CUDA driver as this package needs it: a few calls, through cuda-bindings or pycuda, whichever imports.

Handles are plain integers, as both packages and TensorRT take them. Every member may be called from any thread, within
`current`.
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
# Results after which every later call fails too, until the process ends: the CUDA driver API's numbers and texts.
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
    """The device has not as much memory as was asked for; the process may go on and ask for less."""


class DeviceFault(RuntimeError):
    """A call failed in a way that is nobody's input; the process ends."""


class Driver(Protocol):
    """One GPU. Every call raises OutOfDeviceMemory, DeviceLost or DeviceFault; only `synchronize` blocks."""

    @property
    def has_graphs(self) -> bool:
        """Whether `begin_capture`, `end_capture` and `launch` work."""

    def device(self) -> Device:
        """Name and compute capability."""

    def current(self) -> AbstractContextManager[None]:
        """The GPU is the calling thread's within the block; blocks may be nested."""

    def allocate(self, size: int) -> int:
        """`size` bytes on the device: their address."""

    def release(self, address: int) -> None:
        """Give back what `allocate` gave."""

    def pinned(self, size: int) -> npt.NDArray[np.uint8]:
        """`size` bytes of page-locked memory of the host, which the device copies by itself; freed with the array."""

    def stream(self) -> int:
        """A new stream, independent of the default one."""

    def event(self) -> int:
        """A new event, waited for without spinning."""

    def copy_in(self, address: int, host: npt.NDArray[np.uint8], stream: int) -> None:
        """Enqueue a copy of the whole pinned array to the device."""

    def copy_out(self, host: npt.NDArray[np.uint8], address: int, stream: int) -> None:
        """Enqueue a copy from the device that fills the whole pinned array."""

    def record(self, event: int, stream: int) -> None:
        """Enqueue: the event happens when all before it on the stream is done."""

    def wait(self, stream: int, event: int) -> None:
        """Enqueue: what follows on the stream waits for the event's last record; at once where there was none."""

    def synchronize(self, event: int) -> None:
        """Block until the event's last record has happened; other threads run meanwhile."""

    def begin_capture(self, stream: int) -> None:
        """Write down what is enqueued from now on, in place of doing it."""

    def end_capture(self, stream: int) -> int:
        """Stop writing down; a graph to launch."""

    def launch(self, graph: int, stream: int) -> None:
        """Enqueue a whole graph."""

    def check(self) -> None:
        """Raise what ails the device, if anything: for after a call of TensorRT that only said that it failed."""

    def close(self) -> None:
        """Let go of the device; nothing may be called after it."""


def failure(call: str, code: int, text: str) -> Exception:
    """The error of a driver call that returned `code`."""
    if code == OUT_OF_MEMORY:
        return OutOfDeviceMemory(f"{call}: {text}")
    if code in STICKY:
        return lost(f"{call}: {text} (CUDA {code})")
    return DeviceFault(f"{call}: {text} (CUDA {code})")


def lost(what: str) -> DeviceLost:
    """The error after which nothing on this device can work in this process."""
    return DeviceLost(
        f"the GPU is lost to this process: {what}; the process ends so that a new one starts clean. If it comes back, "
        "see dmesg for Xid lines and nvidia-smi -q for ECC errors"
    )
