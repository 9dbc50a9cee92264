"""Two batches at once on one GPU: while one computes, the next is copied in and the previous one is copied out.

There are two slots. Each has a stream, page-locked memory on the host, and memory on the device. A slot enqueues
copy-in, compute and copy-out on its stream. An event makes each compute wait for the previous one, so that two batches
never share the GPU's processors; only copies run at the same time. All outputs lie in one block and come back in one
copy, because a few more kilobytes cost less than another call. A batch larger than the largest profile goes through in
parts, two at a time.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engines.gpu.driver import Driver

SLOTS = 2  # one computes, one copies; a third would only wait
_ALIGNED = 256  # bytes; TensorRT requires it of every address

Array = npt.NDArray[np.generic]
Enqueue = Callable[[int], None]
"""Enqueues the compute of so many photos on the stream that it was made for."""


@dataclass(frozen=True)
class Row:
    """One photo's share of an input or output: name, dtype and shape."""

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return self.dtype.itemsize * int(np.prod(self.shape))


@dataclass(frozen=True, eq=False)
class _Slot:
    stream: int
    computed: int
    done: int
    photos: int
    results: int
    pixels: npt.NDArray[np.uint8]
    answers: npt.NDArray[np.uint8]
    enqueue: Enqueue


class Overlap:
    """The slots, and who may use them. Any thread may call `run`, which blocks until its batch is done."""

    def __init__(
        self,
        driver: Driver,
        photos: Row,
        outputs: list[Row],
        largest: int,
        compute: Callable[[int, Mapping[str, int]], Enqueue],
    ) -> None:
        """
        Args:
            driver: of the GPU.
            photos: the input.
            outputs: what comes back.
            largest: the most photos of one slot.
            compute: makes what enqueues the compute, from a stream and the device addresses by name.

        Raises:
            OutOfDeviceMemory: the device is too small. Everything allocated so far is freed.
        """
        self._driver, self._photos, self._outputs, self.largest = driver, photos, outputs, largest
        sizes = [-(-row.size * largest // _ALIGNED) * _ALIGNED for row in outputs]
        self._places = dict(zip([row.name for row in outputs], np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))
        self._block = sum(sizes)
        self._order = threading.Lock()
        self._last: int | None = None  # the event of the latest compute
        self._fault: Exception | None = None
        self._taken: list[int] = []
        self._slots: list[_Slot] = []
        self._free: queue.SimpleQueue[_Slot] = queue.SimpleQueue()
        try:
            for _ in range(SLOTS):
                self._slots.append(self._slot(compute))
                self._free.put(self._slots[-1])
        except Exception:
            self.close()
            raise

    def run(self, photos: npt.NDArray[np.uint8]) -> dict[str, Array]:
        """Compute a batch.

        Args:
            photos: uint8 [n, h, w, 3], with any n.

        Returns:
            By output name, an array that the caller owns, with one row for each photo.

        Raises:
            DeviceLost, DeviceFault: every later call raises the same error, because enqueued work cannot be trusted.
        """
        held: list[_Slot] = []
        try:
            with self._driver.current():
                return self._run(photos, held)
        except Exception as error:
            self._fault = self._fault or error
            raise
        finally:
            for slot in held:  # also after a fault: a thread that waits for a slot wakes and gets the error
                self._free.put(slot)

    def close(self) -> None:
        """Wait until nothing runs, then free all device memory. A later `run` raises. A second call does nothing."""
        mine = [self._free.get() for _ in self._slots]
        self._fault = self._fault or RuntimeError("the engine is closed; build another")
        for slot in mine:
            self._free.put(slot)
        with self._driver.current():
            while self._taken:
                self._driver.release(self._taken.pop())

    def _slot(self, compute: Callable[[int, Mapping[str, int]], Enqueue]) -> _Slot:
        driver, stream = self._driver, self._driver.stream()
        size = self._photos.size * self.largest
        for block in (size, self._block):
            self._taken.append(driver.allocate(block))
        photos, results = self._taken[-2:]
        addresses = {self._photos.name: photos, **{name: results + at for name, at in self._places.items()}}
        return _Slot(
            stream=stream,
            computed=driver.event(),
            done=driver.event(),
            photos=photos,
            results=results,
            pixels=driver.pinned(size),
            answers=driver.pinned(self._block),
            enqueue=compute(stream, addresses),
        )

    def _run(self, photos: npt.NDArray[np.uint8], held: list[_Slot]) -> dict[str, Array]:
        parts: list[dict[str, Array]] = []
        under_way: deque[tuple[_Slot, int]] = deque()
        for start in range(0, len(photos), self.largest):
            part = photos[start : start + self.largest]
            slot = self._take(held)
            if slot is None:  # we hold the other slot, or another thread does: finish our own batch first
                slot, count = under_way.popleft()
                parts.append(self._collect(slot, count))
            self._submit(slot, part)
            under_way.append((slot, len(part)))
        parts.extend(self._collect(slot, count) for slot, count in under_way)
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _take(self, held: list[_Slot]) -> _Slot | None:
        """Return a free slot. Waits only if the caller holds none, so that two callers never wait for each other."""
        try:
            slot = self._free.get(block=not held)
        except queue.Empty:
            return None
        held.append(slot)
        if self._fault is not None:
            raise self._fault
        return slot

    def _submit(self, slot: _Slot, photos: npt.NDArray[np.uint8]) -> None:
        driver, stream, count = self._driver, slot.stream, len(photos)
        pixels = slot.pixels[: count * self._photos.size]
        np.copyto(pixels, photos.reshape(-1))
        with self._order:  # each compute waits for the one enqueued before it
            driver.copy_in(slot.photos, pixels, stream)
            if self._last is not None:
                driver.wait(stream, self._last)
            slot.enqueue(count)
            driver.record(slot.computed, stream)
            self._last = slot.computed
            driver.copy_out(slot.answers, slot.results, stream)
            driver.record(slot.done, stream)

    def _collect(self, slot: _Slot, count: int) -> dict[str, Array]:
        self._driver.synchronize(slot.done)
        found: dict[str, Array] = {}
        for row in self._outputs:
            at = self._places[row.name]
            rows = slot.answers[at : at + count * row.size].view(row.dtype)
            found[row.name] = rows.reshape(count, *row.shape).copy()
        return found
