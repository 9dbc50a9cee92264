"""Decoding in processes of one thread each, with the pixels in memory that they share with this one.

Threads that decode take the interpreter lock from one another and from everything else some five times a photo: in a
busy process a decode costs a quarter more than alone, and many cores decode hardly faster than one. Photos go over
several at a time; their pixels come back in slots, which bound what is decoded and not yet used.
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

from engines.pixels import _wire as wire
from engines.pixels._child import Child, Died
from schemas.errors import Invalid
from schemas.manifest import Preprocess

MOST_PHOTOS = 16  # of a message: waking both ends costs a photo nothing by then
_DIED = "a process that decoded this photo alone died, twice; send another file"


@dataclass(frozen=True, slots=True)
class SlotPhoto:
    """A decoded photo.

    Attributes:
        slot: to be given back once the pixels are used.
        pixels: what is in the slot, uint8 [height, width, 3]; of something else once it is given back.
        thumbnail: WebP bytes, empty without one.
        seconds: what the decode took by the clock.
    """

    slot: int
    pixels: NDArray[np.uint8]
    thumbnail: bytes
    seconds: float


class DecodeProcesses:
    """`count` processes that decode as `decode_photo` does, bit for bit. Any number of threads may ask.

    A photo of which a process dies harms no other: those beside it are decoded again one by one, and that of which
    two more processes die is refused. Processes are started when they are needed, take no signal but SIGKILL, and end
    with this one, however it ends. `slots` is where all pixels lie, uint8 [slots, height, width, 3].
    """

    def __init__(self, count: int, preprocess: Preprocess, *, thumbnail_side: int, slots: int) -> None:
        """`thumbnail_side` 0: no thumbnails. `slots`: photos that may be decoded and not given back."""
        setup = wire.Setup(preprocess, thumbnail_side, slots)
        self._memory_fd = wire.shared_bytes(setup)
        self.slots = wire.slots_of(self._memory_fd, setup)
        self._children = [Child(setup, self._memory_fd) for _ in range(count)]
        self._idle: LifoQueue[Child] = LifoQueue()
        for child in self._children:
            self._idle.put(child)
        self._free = deque(range(slots))  # the longest free first, so that photos of a batch tend to lie side by side
        self._freed = threading.Condition()

    @property
    def pids(self) -> list[int]:
        """Of the processes that run."""
        return [child.pid for child in self._children if child.pid is not None]

    def decode(self, photos: Sequence[bytes]) -> Iterator[list[SlotPhoto | Invalid]]:
        """Outcomes in the order of the photos, some at a time, as soon as there are slots for them.

        What is yielded must be on its way to be given back before more is asked for, or there may be no slot for it.
        Invalid is as `decode_photo` raises it, or `process_died`. Raises RuntimeError when no process can be started.
        """
        start = 0
        while start < len(photos):
            slots = self._take(min(MOST_PHOTOS, len(photos) - start))
            some = photos[start : start + len(slots)]
            outcomes = self._outcomes(some, slots)
            self.give_back(s for s, one in zip(slots, outcomes, strict=True) if isinstance(one, Invalid))
            yield outcomes
            start += len(some)

    def give_back(self, slots: Iterable[int]) -> None:
        """The pixels in these are not needed any more."""
        with self._freed:
            self._free.extend(slots)
            self._freed.notify_all()

    def close(self) -> None:
        """End the processes; nobody may be asking. The memory goes with the last pixels that are held."""
        for child in self._children:
            child.close()
        os.close(self._memory_fd)

    def _take(self, most: int) -> list[int]:
        """At least one slot."""
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
        child = self._idle.get()
        try:
            answer = child.ask(photos, slots)
        finally:
            self._idle.put(child)
        return [
            SlotPhoto(slot, self.slots[slot], one.thumbnail, one.seconds)
            if isinstance(one, wire.Decoded)
            else Invalid(one.stage, one.error, one.message)
            for slot, one in zip(slots, answer, strict=True)
        ]
