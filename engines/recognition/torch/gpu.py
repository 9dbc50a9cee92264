"""The torch back end on a GPU: a compiled graph, one CUDA graph for each batch size, two batches at a time.

It is for GPUs where TensorRT is not installed or does not run. `engines/gpu/overlap.py` owns buffers, streams, events
and copies, as for TensorRT; torch only computes between two copies. Both use the device's primary context, so that
streams and addresses of one are valid in the other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engines.gpu.driver import DeviceFault, Driver, OutOfDeviceMemory, failure
from engines.gpu.open import open_driver
from engines.gpu.overlap import Enqueue, Overlap, Row
from engines.gpu.profiles import MOST, Profiles, open_profiles
from engines.recognition.bundles.bundle import Bundle
from engines.recognition.gpu_graph import prepare
from engines.recognition.torch.graph import Graph, load_graph
from schemas.errors import DeviceLost

_log = logging.getLogger(__name__)

_SIZES = (2, 8, 32)  # a search, batches of workers; torch would compile size 1 separately, and 2 is as fast
_UNKNOWN = 999  # CUDA's code for an unknown error, which lasts
_WARM = 2  # runs before a capture: the first compiles and picks algorithms, the second allocates no more

Compute = Callable[[Tensor], tuple[Tensor, ...]]


class Device(Protocol):
    """The part of torch that depends on the device."""

    name: str

    def tensor(self, address: int, row: Row, photos: int) -> Tensor:
        """Return the memory at `address` as a tensor [photos, *row.shape] of the row's dtype, without a copy."""

    def captured(self, body: Callable[[], None], stream: int) -> Callable[[], None]:
        """Warm `body` up on the stream, capture it, and return a function that enqueues it there."""


class Cuda:
    """The first GPU that CUDA_VISIBLE_DEVICES leaves. See `Device`."""

    name = "cuda"

    def tensor(self, address: int, row: Row, photos: int) -> Tensor:
        """See `Device.tensor`."""
        tensor = torch.as_tensor(_Memory(address, row, photos), device=self.name)
        if tensor.data_ptr() != address:
            raise DeviceFault(f"torch: {row.name} was copied, but it must share memory with the driver")
        return tensor

    def captured(self, body: Callable[[], None], stream: int) -> Callable[[], None]:
        """See `Device.captured`."""
        ours = torch.cuda.ExternalStream(stream)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(ours):
            for _ in range(_WARM):
                body()
        ours.synchronize()
        graph = torch.cuda.CUDAGraph()
        # thread local: calls of other threads do not end this capture
        with torch.cuda.graph(graph, stream=ours, capture_error_mode="thread_local"):
            body()

        def enqueue() -> None:
            with torch.cuda.stream(ours):
                graph.replay()

        return enqueue


class _Memory:
    """Device memory in the form that `torch.as_tensor` accepts."""

    def __init__(self, address: int, row: Row, photos: int) -> None:
        self.__cuda_array_interface__ = {
            "data": (address, False),
            "shape": (photos, *row.shape),
            "typestr": row.dtype.str,
            "strides": None,
            "version": 3,
        }


class TorchGpu:
    """See `Backend`. A batch runs at the smallest profile that takes it; a larger batch runs in parts.

    If memory runs out while it opens, it leaves out the largest profile, once.
    """

    def __init__(self, bundle: Bundle, driver: Driver, device: Device, profiles: Profiles) -> None:
        """
        Raises:
            BundleRefused: the graph uses an operator that `operators` lacks, or lacks an output of the manifest.
            ConfigError: the GPU has no room for the second largest profile either.
            DeviceLost, DeviceFault: the GPU failed.
        """
        self._driver, self._device = driver, device
        manifest = bundle.manifest
        model = prepare(load_graph(bundle), manifest)
        names = [value.name for value in model.graph.output]
        with torch.inference_mode(), mapped():
            graph = Graph(model, names).eval().to(device.name)
            side = (manifest.preprocess.height, manifest.preprocess.width, 3)
            self._photos = Row(manifest.input, np.dtype(np.uint8), side)
            sample = torch.zeros(_SIZES[0], *side, dtype=torch.uint8, device=device.name)
            values = graph(sample)
            self._compute = _compiled(graph, sample) if device.name == "cuda" else cast(Compute, graph)
        self._rows = [
            Row(name, value.cpu().numpy().dtype, tuple(value.shape[1:]))
            for name, value in zip(names, values, strict=True)
        ]
        self._overlap = open_profiles(profiles, self._open)

    def run(self, photos: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[np.generic]]:
        """Compute the raw outputs of uint8 [n, h, w, 3]; see `Backend.run`."""
        return self._overlap.run(photos)

    def close(self) -> None:
        """See `Backend.close`."""
        with suppress(DeviceLost):  # then there is nothing to free
            self._overlap.close()
            del self._overlap, self._compute  # free graphs and weights before their context
            self._driver.close()

    def _open(self, profiles: Profiles) -> Overlap:
        def compute(stream: int, addresses: Mapping[str, int]) -> Enqueue:
            def body(batch: int) -> Callable[[], None]:
                pixels = self._device.tensor(addresses[self._photos.name], self._photos, batch)
                answers = [self._device.tensor(addresses[row.name], row, batch) for row in self._rows]
                return lambda: _answer(self._compute, pixels, answers)

            with mapped():
                graphs = [self._device.captured(body(batch), stream) for batch in profiles.batches]

            def enqueue(count: int) -> None:
                with mapped():
                    graphs[profiles.choose(count)]()

            return enqueue

        return Overlap(self._driver, self._photos, self._rows, profiles.largest, compute)


def _compiled(graph: Graph, sample: Tensor) -> Compute:
    """Compile the graph, which fuses what is between convolutions. Return it uncompiled if this machine cannot."""
    compiled = torch.compile(graph)
    torch._dynamo.mark_dynamic(sample, 0)
    try:
        compiled(sample)
    except (torch.OutOfMemoryError, torch.AcceleratorError):
        raise
    except Exception as error:  # no C compiler, no Triton for this GPU: each raises its own type
        _log.warning("torch cannot compile the graph (%s: %s); it runs uncompiled", type(error).__name__, _line(error))
        return cast(Compute, graph)
    return cast(Compute, compiled)


def _answer(compute: Compute, pixels: Tensor, answers: list[Tensor]) -> None:
    with torch.inference_mode():
        for answer, value in zip(answers, compute(pixels), strict=True):
            answer.copy_(value)


@contextmanager
def mapped() -> Iterator[None]:
    """Turn torch's errors inside the block into the driver's: OutOfDeviceMemory, DeviceLost, DeviceFault."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        torch.cuda.empty_cache()  # a smaller profile may use it
        raise OutOfDeviceMemory(f"torch: {_line(error)}") from None
    except torch.AcceleratorError as error:
        raise failure("torch", int(getattr(error, "error_code", _UNKNOWN)), _line(error)) from None


def profiles_to(max_batch: int) -> Profiles:
    """Return the `_SIZES` below `max_batch` and `max_batch` itself, which is capped at `MOST`."""
    most = min(max(max_batch, _SIZES[0]), MOST)
    return Profiles((*(size for size in _SIZES if size < most), most))


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def open_gpu(bundle: Bundle, max_batch: int) -> TorchGpu:
    """Open the bundle on the first GPU. Raises ConfigError without cuda-bindings, otherwise as `TorchGpu`."""
    torch.backends.cudnn.benchmark = True  # shapes are fixed, so cuDNN's fastest algorithm is searched for once
    torch.backends.cudnn.allow_tf32 = False  # FP32 is the reference, and TF32 has only ten bits of mantissa
    driver = open_driver()
    try:
        with driver.current():
            return TorchGpu(bundle, driver, Cuda(), profiles_to(max_batch))
    except BaseException:
        driver.close()
        raise
