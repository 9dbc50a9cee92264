"""One budget of memory for all photos that a process decodes at once.

A photo's need is computed from its header before anything is decoded (`engines/pixels/cost.py`). A photo that needs
more than is free waits. A photo that needs more than the whole budget is a bad photo. A photo is *large* if it needs
more than a quarter of the budget. The others go first, in the order of arrival, until a large photo has waited for
5 s. So large photos take turns, others wait for one or two of them at most, and nobody waits for ever. Whoever decodes
needs a thread of its own for large photos, because a thread that waits decodes nothing else.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from schemas.errors import ConfigError, Invalid

MEGABYTE = 1 << 20
DEFAULT_MEGABYTES = 256
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGE_BYTES = 4 << 20  # ordinary photos stay below, and reuse their memory
LEAST_MEGABYTES = 16  # one photo of a phone, and a little
_LARGE_SHARE = 4  # a large photo needs more than this part of the budget
PATIENCE_S = 5.0  # then a large photo goes before others; the worst decode takes about as long


@dataclass(eq=False, slots=True)
class _Ticket:
    """A photo that waits for memory."""

    wanted: int
    since: float = field(default_factory=time.monotonic)


class DecodeBudget:
    """Bytes that decodes may hold at once. Thread-safe. A thread holds one share at most."""

    def __init__(self, megabytes: int = DEFAULT_MEGABYTES) -> None:
        self._changed = threading.Condition()
        self._total = 0
        self._held = 0
        self._waiting: deque[_Ticket] = deque()
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

    def is_large(self, wanted: int) -> bool:
        """Whether a photo that needs `wanted` bytes is large: more than a quarter of the budget."""
        return wanted * _LARGE_SHARE > self._total

    def check(self, wanted: int) -> None:
        """Raises Invalid `over_budget` if a photo needs more than the whole budget."""
        if wanted > self._total:
            text = f"decoding needs {-(-wanted // MEGABYTE)} MB, decode_memory_mb allows {self._total // MEGABYTE}"
            raise Invalid("decode", "over_budget", f"{text}; send a smaller photo, or a baseline JPEG")

    @contextmanager
    def hold(self, wanted: int) -> Iterator[None]:
        """Hold `wanted` bytes during the block. Waits until they are free. Raises Invalid as `check` does."""
        with self._changed:
            self.check(wanted)
            if self._waiting or self._held + wanted > self._total:
                self._wait(_Ticket(wanted))
            self._held += wanted
        try:
            yield
        finally:
            with self._changed:
                self._held -= wanted
                if self._waiting:
                    self._changed.notify_all()

    def _wait(self, ticket: _Ticket) -> None:
        self._waiting.append(ticket)
        try:
            # If the budget was lowered meanwhile, the photo goes alone.
            while self._next() is not ticket or (self._held and self._held + ticket.wanted > self._total):
                self._changed.wait(PATIENCE_S if self.is_large(ticket.wanted) else None)
        finally:
            self._waiting.remove(ticket)
            self._changed.notify_all()

    def _next(self) -> _Ticket:
        """Whose turn it is, of those that wait."""
        first = {self.is_large(one.wanted): one for one in reversed(self._waiting)}  # the first large one and other one
        overdue = True in first and time.monotonic() - first[True].since >= PATIENCE_S
        return first[True] if overdue or False not in first else first[False]


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
