"""A GPU in Python at the driver's boundary: streams run when they are waited for, in any order that CUDA allows."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engines.gpu.driver import Device, DeviceFault, OutOfDeviceMemory
from engines.gpu.overlap import Row

SHAPE = (4, 4, 3)
PHOTOS = Row("photos", np.dtype(np.uint8), SHAPE)
OUTPUTS = [Row("sum", np.dtype(np.float32), (1,)), Row("head", np.dtype(np.uint8), (3,))]


def naive(photos: np.ndarray) -> dict[str, np.ndarray]:
    """What the network computes."""
    return {
        "sum": photos.reshape(len(photos), -1).sum(axis=1, dtype=np.float32)[:, None],
        "head": photos[:, 0, 0],
    }


@dataclass
class Operation:
    kind: str
    act: Callable[[], None]
    ready: Callable[[], bool] = lambda: True


@dataclass
class FakeDriver:
    """See `cuda.Driver`. `memory` bytes can be allocated; `choose` picks the next of the streams that can go on."""

    has_graphs: bool = False
    memory: int = 10**9
    seed: int = 0
    prefer: str = ""
    log: list[str] = field(default_factory=list)
    fault: Exception | None = None

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._lock = threading.RLock()
        self._handle = 0
        self._streams: dict[int, deque[Operation]] = {}
        self._recorded: dict[int, int] = {}
        self._happened: dict[int, int] = {}
        self._graphs: dict[int, list[Operation]] = {}
        self._capturing: dict[int, list[Operation]] = {}
        self.blocks: dict[int, np.ndarray] = {}
        self.launches = 0
        self.sizes: list[int] = []

    def device(self) -> Device:
        return Device(name="fake", capability="sm90")

    @contextmanager
    def current(self) -> Iterator[None]:
        yield

    def close(self) -> None:
        pass

    def check(self) -> None:
        if self.fault is not None:
            raise self.fault

    def allocate(self, size: int) -> int:
        if sum(block.nbytes for block in self.blocks.values()) + size > self.memory:
            raise OutOfDeviceMemory("allocate: out of memory")
        address = self._new() * 2**32
        self.blocks[address] = np.zeros(size, np.uint8)
        return address

    def release(self, address: int) -> None:
        del self.blocks[address]

    def pinned(self, size: int) -> np.ndarray:
        return np.zeros(size, np.uint8)

    def stream(self) -> int:
        stream = self._new()
        self._streams[stream] = deque()
        return stream

    def event(self) -> int:
        event = self._new()
        self._recorded[event] = self._happened[event] = 0
        return event

    def copy_in(self, address: int, host: np.ndarray, stream: int) -> None:
        def act() -> None:
            self.at(address, host.nbytes)[:] = host

        self.put(stream, Operation("in", act))

    def copy_out(self, host: np.ndarray, address: int, stream: int) -> None:
        def act() -> None:
            host[:] = self.at(address, host.nbytes)

        self.put(stream, Operation("out", act))

    def record(self, event: int, stream: int) -> None:
        self._recorded[event] += 1
        mark = self._recorded[event]
        self.put(stream, Operation("record", lambda: self._happened.__setitem__(event, mark)))

    def wait(self, stream: int, event: int) -> None:
        mark = self._recorded[event]
        self.put(stream, Operation("wait", lambda: None, lambda: self._happened[event] >= mark))

    def synchronize(self, event: int) -> None:
        while self._happened[event] < self._recorded[event]:
            with self._lock:
                self.check()
                self._step()

    def begin_capture(self, stream: int) -> None:
        self._capturing[stream] = []

    def end_capture(self, stream: int) -> int:
        graph = self._new()
        self._graphs[graph] = self._capturing.pop(stream)
        if not self._graphs[graph]:
            raise DeviceFault("nothing was captured")
        return graph

    def launch(self, graph: int, stream: int) -> None:
        self.launches += 1
        for operation in self._graphs[graph]:
            self.put(stream, operation)

    def put(self, stream: int, operation: Operation) -> None:
        with self._lock:
            self._capturing.get(stream, self._streams[stream]).append(operation)

    def at(self, address: int, size: int) -> np.ndarray:
        """The device's bytes from `address` on."""
        base = max(block for block in self.blocks if block <= address)
        return self.blocks[base][address - base : address - base + size]

    def _step(self) -> None:
        """One operation at the head of some stream that need not wait."""
        ready = [stream for stream, line in self._streams.items() if line and line[0].ready()]
        liked = [stream for stream in ready if self._streams[stream][0].kind == self.prefer]
        if ready:
            operation = self._streams[self._random.choice(liked or ready)].popleft()
            self.log.append(operation.kind)
            operation.act()

    def _new(self) -> int:
        with self._lock:
            self._handle += 1
            return self._handle


class FakeContext:
    """What `Execution` calls of TensorRT's execution context; computes `naive`."""

    def __init__(self, driver: FakeDriver, refuse_capture: bool) -> None:
        self._driver, self._refuse = driver, refuse_capture
        self._addresses: dict[str, int] = {}
        self._photos = 0

    def set_optimization_profile_async(self, place: int, stream: int) -> bool:
        return place >= 0 and stream > 0

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._photos = shape[0]
        return name == PHOTOS.name and shape[1:] == SHAPE

    def execute_async_v3(self, stream: int) -> bool:
        if self._refuse and stream in self._driver._capturing:
            return False
        count = self._photos

        def act() -> None:
            self._driver.sizes.append(count)
            photos = self._driver.at(self._addresses["photos"], count * PHOTOS.size).reshape(count, *SHAPE)
            for name, rows in naive(photos).items():
                self._driver.at(self._addresses[name], rows.nbytes)[:] = (
                    np.ascontiguousarray(rows).view(np.uint8).ravel()
                )

        self._driver.put(stream, Operation("compute", act))
        return True


@dataclass
class FakeEngine:
    """What `Execution` calls of TensorRT's engine; contexts run out after `contexts`."""

    driver: FakeDriver
    contexts: int = 99
    refuse_capture: bool = False

    def create_execution_context(self) -> FakeContext | None:
        self.contexts -= 1
        return FakeContext(self.driver, self.refuse_capture) if self.contexts >= 0 else None


@contextmanager
def threads(count: int, body: Callable[[int], None]) -> Iterator[list[Any]]:
    """Run `body(i)` in `count` threads; what they raised, once the block is left."""
    raised: list[Any] = []

    def guarded(i: int) -> None:
        try:
            body(i)
        except Exception as error:
            raised.append(error)

    running = [threading.Thread(target=guarded, args=(i,), daemon=True) for i in range(count)]
    for thread in running:
        thread.start()
    yield raised
    for thread in running:
        thread.join(20)
        assert not thread.is_alive()
