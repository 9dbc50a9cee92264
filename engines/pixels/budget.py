"""One budget of memory for all photos that a process decodes at once.

A photo's need is computed from its header before anything is decoded (`engines/pixels/cost.py`). A photo that needs
more than is free waits, in the order of arrival, so that small photos never starve a large one. A photo that needs more
than the whole budget is a bad photo. So eight of the largest photos take turns, and ordinary photos never wait.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.errors import ConfigError, Invalid

MEGABYTE = 1 << 20
DEFAULT_MEGABYTES = 256
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGE_BYTES = 4 << 20  # ordinary photos stay below, and reuse their memory
LEAST_MEGABYTES = 16  # one photo of a phone, and a little


class DecodeBudget:
    """Bytes that decodes may hold at once. Thread-safe. A thread holds one share at most."""

    def __init__(self, megabytes: int = DEFAULT_MEGABYTES) -> None:
        self._changed = threading.Condition()
        self._total = 0
        self._held = 0
        self._waiting: deque[object] = deque()
        self.set(megabytes)

    @property
    def total(self) -> int:
        """All bytes of the budget."""
        return self._total

    @property
    def held(self) -> int:
        """The bytes that decodes hold now."""
        return self._held

    def set(self, megabytes: int) -> None:
        """Change the whole budget. Raises ConfigError below 16 MB."""
        if megabytes < LEAST_MEGABYTES:
            raise ConfigError(f"decode_memory_mb: {megabytes} is below {LEAST_MEGABYTES}, which a phone's photo needs")
        with self._changed:
            self._total = megabytes * MEGABYTE
            self._changed.notify_all()

    def check(self, wanted: int) -> None:
        """Raises Invalid `over_budget` if a photo needs more than the whole budget."""
        if wanted > self._total:
            text = f"decoding needs {-(-wanted // MEGABYTE)} MB, decode_memory_mb allows {self._total // MEGABYTE}"
            raise Invalid("decode", "over_budget", f"{text}; send a smaller photo, or a baseline JPEG")

    @contextmanager
    def hold(self, wanted: int) -> Iterator[None]:
        """Hold `wanted` bytes during the block. Waits until they are free. Raises Invalid as `check` does."""
        ticket = object()
        with self._changed:
            self.check(wanted)
            if self._waiting or self._held + wanted > self._total:
                self._wait(ticket, wanted)
            self._held += wanted
        try:
            yield
        finally:
            with self._changed:
                self._held -= wanted
                if self._waiting:
                    self._changed.notify_all()

    def _wait(self, ticket: object, wanted: int) -> None:
        self._waiting.append(ticket)
        try:
            # If the budget was lowered meanwhile, the photo goes alone.
            while self._waiting[0] is not ticket or (self._held and self._held + wanted > self._total):
                self._changed.wait()
        finally:
            self._waiting.remove(ticket)
            self._changed.notify_all()


PROCESS = DecodeBudget()
"""The budget of this process. `tagger.decode_memory_mb` and `search.decode_memory_mb` set it."""


def limit_decode_memory(megabytes: int) -> None:
    """Set the memory for all photos that this process decodes at once. Raises ConfigError below 16 MB.

    From then on glibc returns large blocks to the system as soon as they are freed. Otherwise it learns from the first
    large photo to keep blocks of up to 32 MB, for each thread of its own, and eight threads hold 150 MB for nothing.
    """
    PROCESS.set(megabytes)
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none, and keep no blocks
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
            mallopt(_M_TRIM_THRESHOLD, _LARGE_BYTES)


def decode_memory_held() -> int:
    """Return the bytes that decodes of this process hold now."""
    return PROCESS.held
