"""Retry in place: how long to pause between two tries, and a call that is retried in the calling thread.

A retry library such as stamina would replace `call_with_retries` alone, which the back-fill uses. The tagger's events
wait in its `WaitingRoom`, where no thread sleeps and a hold stops the clock. The intake fits its attempts into a time
limit that photos share. Two more packages (stamina and tenacity) would save about ten lines, so we keep our own.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from schemas.errors import Reject, Transient

T = TypeVar("T")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0


def pause_s(tries: int, longest_s: float = _LONGEST_PAUSE_S) -> float:
    """Seconds to pause after `tries` failed tries.

    The pause starts at 0.1 s and doubles with each try, up to `longest_s`. It is then shortened at random by up to
    half, so that workers which failed together do not all come back at the same moment.
    """
    doubled: float = _FIRST_PAUSE_S * 2 ** min(tries - 1, 20)
    return min(longest_s, doubled) * random.uniform(0.5, 1.0)


def call_with_retries(action: Callable[[], T], tries: int) -> T:
    """Call `action` up to `tries` times, as long as it raises Transient or Reject, with a pause between two tries.

    Example:

        rows = call_with_retries(lambda: store.get(listing_ids), tries=5)

    Raises:
        Transient: the last try failed. A Reject, which means that a buffer stayed full, becomes a Transient as well.
    """
    for failed in range(1, tries):
        try:
            return action()
        except (Transient, Reject):
            time.sleep(pause_s(failed))
    try:
        return action()
    except Reject as full:
        raise Transient("stream", "buffer_full", str(full)) from full
