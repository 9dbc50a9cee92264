"""Decodes photos in single-threaded processes, which write the pixels into shared memory.

Decoding threads take the interpreter lock about five times for each photo. In a busy process a decode costs a quarter
more than alone, and many cores are hardly faster than one. So photos go to other processes, several at a time. Their
pixels come back in slots, which bound how many photos are decoded and not used yet.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from queue import LifoQueue

import numpy as np
from numpy.typing import NDArray

from engines.pixels.budget import MEGABYTE, PROCESS
from engines.pixels.decode import cost_of, is_large
from engines.pixels.multiprocess import _wire as wire
from engines.pixels.multiprocess._child import Child, Died
from schemas.errors import Invalid
from schemas.manifest import Preprocess

MOST_PHOTOS = 16  # in one message: more would not make the message's cost for each photo smaller
_DIED = "the process that decoded this photo alone died twice; send another file"


@dataclass(frozen=True, slots=True)
class SlotPhoto:
    """A decoded photo.

    Attributes:
        slot: give it back when the pixels are used.
        pixels: uint8 [height, width, 3] in the slot; valid until the slot is given back.
        thumbnail: JPEG bytes, or empty.
        seconds: wall time of the decode.
    """

    slot: int
    pixels: NDArray[np.uint8]
    thumbnail: bytes
    seconds: float


class DecodeProcesses:
    """`count` processes that decode exactly as `decode_photo` does. Any number of threads may call.

    A photo that kills a process harms no other photo: the photos of its message are decoded again one by one, and a
    photo that kills two more processes is refused. Processes start when they are needed, ignore every signal except
    SIGKILL, and end with this process, however it ends. Their photos share the
    budget of memory of this process. `slots` holds all pixels: uint8 [slots, height, width, 3].
    """

    def __init__(self, count: int, preprocess: Preprocess, *, thumbnail_side: int, slots: int) -> None:
        """Prepare the processes.

        Args:
            count: processes.
            preprocess: from the bundle's manifest.
            thumbnail_side: longer side of thumbnails, in pixels; 0 makes none.
            slots: photos that may be decoded and not given back.
        """
        setup = wire.Setup(preprocess, thumbnail_side, slots, PROCESS.total // MEGABYTE)
        self._preprocess = preprocess
        self._memory_fd = wire.shared_bytes(setup)
        self.slots = wire.slots_of(self._memory_fd, setup)
        self._children = [Child(setup, self._memory_fd) for _ in range(count)]
        self._idle: LifoQueue[Child] = LifoQueue()
        for child in self._children:
            self._idle.put(child)
        # The slot that is free the longest goes first, so that photos of a batch tend to be adjacent.
        self._free = deque(range(slots))
        self._freed = threading.Condition()

    @property
    def pids(self) -> list[int]:
        """The ids of the running processes."""
        return [child.pid for child in self._children if child.pid is not None]

    def decode(self, photos: Sequence[bytes]) -> Iterator[list[SlotPhoto | Invalid]]:
        """Yield outcomes in the order of the photos, several at a time, as slots become free.

        Consume each result before you request the next: if nobody gives slots back, no slot becomes free.

        Returns:
            For each photo a `SlotPhoto`, or Invalid as `decode_photo` raises it, or Invalid `process_died`.

        Raises:
            RuntimeError: no process can be started.
        """
        start = 0
        while start < len(photos):
            slots = self._take(min(MOST_PHOTOS, len(photos) - start))
            some = photos[start : start + len(slots)]
            outcomes = self._outcomes(some, slots)
            self.give_back(s for s, one in zip(slots, outcomes, strict=True) if isinstance(one, Invalid))
            yield outcomes
            start += len(some)

    def is_large(self, photo: bytes) -> bool:
        """Whether a photo is large, and should not keep others from a process; see `engines.pixels.is_large`."""
        return is_large(photo, self._preprocess)

    def give_back(self, slots: Iterable[int]) -> None:
        """Free these slots. Their pixels may be overwritten."""
        with self._freed:
            self._free.extend(slots)
            self._freed.notify_all()

    def close(self) -> None:
        """End the processes. No thread may be calling. The memory is freed with the last array that refers to it."""
        for child in self._children:
            child.close()
        os.close(self._memory_fd)

    def _take(self, most: int) -> list[int]:
        """Wait for free slots, and take 1 to `most` of them."""
        with self._freed:
            while not self._free:
                self._freed.wait()
            return [self._free.popleft() for _ in range(min(most, len(self._free)))]

    def _outcomes(self, photos: Sequence[bytes], slots: Sequence[int]) -> list[SlotPhoto | Invalid]:
        try:
            return self._asked(photos, slots)
        except Died:
            pass
        if len(photos) > 1:
            return [self._outcomes([photo], [slot])[0] for photo, slot in zip(photos, slots, strict=True)]
        try:
            return self._asked(photos, slots)
        except Died:
            return [Invalid("decode", "process_died", _DIED)]

    def _asked(self, photos: Sequence[bytes], slots: Sequence[int]) -> list[SlotPhoto | Invalid]:
        # A process decodes one photo at a time. A photo over the whole budget is refused there, before it is decoded.
        need = min(PROCESS.total, max(cost_of(photo, self._preprocess) for photo in photos))
        child = self._idle.get()
        try:
            with PROCESS.hold(need):
                answer = child.ask(photos, slots)
        finally:
            self._idle.put(child)
        return [
            SlotPhoto(slot, self.slots[slot], one.thumbnail, one.seconds)
            if isinstance(one, wire.Decoded)
            else Invalid(one.stage, one.error, one.message)
            for slot, one in zip(slots, answer, strict=True)
        ]
