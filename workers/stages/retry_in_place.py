"""Retry in place, in one layer: for a store or a log that may recover within seconds."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from schemas.errors import Reject, Transient

T = TypeVar("T")
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0


def pause_s(tries: int, longest_s: float = _LONGEST_WAIT_S) -> float:
    """Seconds before try number `tries` + 1: doubling from 0.1, and jittered, so that workers which failed together do
    not return together."""
    doubled: float = _FIRST_WAIT_S * 2 ** min(tries - 1, 20)
    return min(longest_s, doubled) * random.uniform(0.5, 1.0)


def waits(tries: int) -> Iterator[float]:
    """Seconds to wait before each try but the first, growing and jittered: workers that failed together must not
    return together."""
    for attempt in range(tries - 1):
        yield min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**attempt) * random.uniform(0.5, 1.0)


def patiently(action: Callable[[], T], tries: int) -> T:
    """Do it, and again after each of `waits` while it fails in a way that may pass.

    Raises Transient after the last try; a full buffer (Reject) that never emptied becomes one too.
    """
    for wait_s in waits(tries):
        try:
            return action()
        except (Transient, Reject):
            time.sleep(wait_s)
    try:
        return action()
    except Reject as full:
        raise Transient("stream", "buffer_full", str(full)) from full
