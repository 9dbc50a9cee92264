"""One stream's execution contexts, a profile each, and their CUDA graphs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from engines.recognition.tensorrt.cuda import DeviceFault, Driver, OutOfDeviceMemory
from engines.recognition.tensorrt.library import Library
from engines.recognition.tensorrt.overlap import Row
from engines.recognition.tensorrt.profiles import Profiles

_log = logging.getLogger(__name__)


class Execution:
    """Enqueues the network on one stream, over fixed device addresses. Not for two threads at once.

    A full profile is launched as a CUDA graph, where the driver has them: one call in place of one a kernel. Other
    batch sizes are enqueued as they are: a graph holds one shape, and one for each size would cost memory.
    """

    def __init__(
        self,
        library: Library,
        engine: Any,
        profiles: Profiles,
        photos: Row,
        *,
        driver: Driver,
        stream: int,
        addresses: Mapping[str, int],
    ) -> None:
        """Make a context a profile and run each once, full, on whatever the buffers hold: memory that is taken, and
        kernels that are compiled, at the first run are so now.

        Raises:
            OutOfDeviceMemory: for a context or its first run.
            DeviceLost, DeviceFault: TensorRT or the driver failed.
        """
        self._library, self._driver, self._photos = library, driver, photos
        self._profiles, self._stream = profiles, stream
        self._contexts: list[Any] = []
        self._shapes: list[int] = []  # photos that each context is set to
        self._graphs: dict[int, int] = {}
        self._done = driver.event()
        for place, batch in enumerate(profiles.batches):
            self._contexts.append(self._context(engine, place, addresses))
            self._shapes.append(0)
            self(batch)
            self._settle()
            if driver.has_graphs:
                self._capture(batch)

    @property
    def graphs(self) -> int:
        """How many profiles run as a CUDA graph."""
        return len(self._graphs)

    def __call__(self, photos: int) -> None:
        """Enqueue the compute of that many photos; raises DeviceLost, DeviceFault or OutOfDeviceMemory."""
        if photos in self._graphs:
            self._driver.launch(self._graphs[photos], self._stream)
            return
        self._enqueue(photos)

    def _context(self, engine: Any, place: int, addresses: Mapping[str, int]) -> Any:
        context = engine.create_execution_context()
        if context is None:
            raise self._failed("create_execution_context")
        if not context.set_optimization_profile_async(place, self._stream):
            raise self._failed(f"set_optimization_profile_async({place})")
        for name, address in addresses.items():
            if not context.set_tensor_address(name, address):
                raise self._failed(f"set_tensor_address({name})")
        return context

    def _enqueue(self, photos: int) -> None:
        place = self._profiles.choose(photos)
        context = self._contexts[place]
        if self._shapes[place] != photos:
            if not context.set_input_shape(self._photos.name, (photos, *self._photos.shape)):
                raise self._failed(f"set_input_shape of {photos} photos")
            self._shapes[place] = photos
        if not context.execute_async_v3(self._stream):
            raise self._failed("execute_async_v3")

    def _settle(self) -> None:
        self._driver.record(self._done, self._stream)
        self._driver.synchronize(self._done)

    def _capture(self, batch: int) -> None:
        """Write the enqueue down as a graph; where TensorRT cannot be captured, go on without."""
        self._driver.begin_capture(self._stream)
        try:
            try:
                self._enqueue(batch)
            finally:
                graph = self._driver.end_capture(self._stream)
        except DeviceFault as error:
            _log.info("no CUDA graph for %d photos: %s", batch, error)
            return
        self._graphs[batch] = graph

    def _failed(self, call: str) -> Exception:
        """What a call that returned None or False means: lost, out of memory, or a fault with the library's line."""
        self._driver.check()
        text = f"{call}: {self._library.log.last or 'no reason given'}"
        return OutOfDeviceMemory(text) if self._library.out_of_memory else DeviceFault(text)
