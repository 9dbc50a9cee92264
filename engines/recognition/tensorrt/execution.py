"""The execution contexts of one stream, one for each profile, and their CUDA graphs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from engines.gpu.driver import DeviceFault, Driver, OutOfDeviceMemory
from engines.gpu.overlap import Row
from engines.gpu.profiles import Profiles
from engines.recognition.tensorrt.library import Library

_log = logging.getLogger(__name__)


class Execution:
    """Enqueues the network on one stream, over fixed device addresses. One thread at a time.

    A batch runs at the smallest profile that takes it. The rows beyond the batch hold old pixels, and nobody reads
    their results. So each context keeps one shape: its kernels are compiled once, and where the driver has graphs, one
    launch of a CUDA graph replaces one call for each kernel.
    """

    def __init__(
        self,
        library: Library,
        new_context: Callable[[], Any],
        profiles: Profiles,
        photos: Row,
        *,
        driver: Driver,
        stream: int,
        addresses: Mapping[str, int],
    ) -> None:
        """Make one context for each profile and run it once on whatever the buffers hold.

        The first run allocates memory and compiles kernels, so that later runs need not.

        Raises:
            OutOfDeviceMemory: the device has too little for a context or its first run.
            DeviceLost, DeviceFault: TensorRT or the driver failed.
        """
        self._library, self._driver, self._photos = library, driver, photos
        self._profiles, self._stream = profiles, stream
        self._contexts: list[Any] = []
        self._graphs: list[int | None] = []
        done = driver.event()
        for place, batch in enumerate(profiles.batches):
            self._contexts.append(self._context(new_context(), place, batch, addresses))
            self._enqueue(place)
            driver.record(done, stream)
            driver.synchronize(done)
            self._graphs.append(self._captured(place) if driver.has_graphs else None)

    def __call__(self, photos: int) -> None:
        """Enqueue the compute of so many photos. Raises DeviceLost, DeviceFault or OutOfDeviceMemory."""
        place = self._profiles.choose(photos)
        graph = self._graphs[place]
        if graph is None:
            self._enqueue(place)
        else:
            self._driver.launch(graph, self._stream)

    def _context(self, context: Any, place: int, batch: int, addresses: Mapping[str, int]) -> Any:
        if context is None:
            raise self._failed("create_execution_context")
        if not context.set_optimization_profile_async(place, self._stream):
            raise self._failed(f"set_optimization_profile_async({place})")
        if not context.set_input_shape(self._photos.name, (batch, *self._photos.shape)):
            raise self._failed(f"set_input_shape of {batch} photos")
        for name, address in addresses.items():
            if not context.set_tensor_address(name, address):
                raise self._failed(f"set_tensor_address({name})")
        return context

    def _enqueue(self, place: int) -> None:
        if not self._contexts[place].execute_async_v3(self._stream):
            raise self._failed("execute_async_v3")

    def _captured(self, place: int) -> int | None:
        """Capture the enqueue as a graph. Returns None if TensorRT cannot be captured; it then runs without a graph."""
        self._driver.begin_capture(self._stream)
        try:
            try:
                self._enqueue(place)
            finally:
                graph = self._driver.end_capture(self._stream)
        except DeviceFault as error:
            _log.info("no CUDA graph for %d photos: %s", self._profiles.batches[place], error)
            return None
        return graph

    def _failed(self, call: str) -> Exception:
        """Return the error for a call that returned None or False: lost, out of memory, or a fault with the reason."""
        self._driver.check()
        text = f"{call}: {self._library.log.last or 'no reason given'}"
        return OutOfDeviceMemory(text) if self._library.out_of_memory else DeviceFault(text)
