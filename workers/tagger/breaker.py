"""Stops the tagger when most events become dead letters and the fault is ours. Bad photos of strangers never stop it.

Whose fault it is depends on the step that gave the events up:

- `photo` (decode or engine): our own canary photos decide. If they pass, the photos of the events are bad. The engine
  needs no canary here: it blames a photo only after it has passed its parity photos (`workers/stages/infer.py`).
- `fetch`, `event` (the event itself cannot be decoded) and `settle` (the store or a topic refuses it): no canary can
  tell. The fault counts as ours if nothing passed that step while the dead letters came from many senders. A sender is
  a seller, a host where no seller is named, or the key of an event that cannot be decoded.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from workers.stages.job import Job

_log = logging.getLogger(__name__)

Step = Literal["event", "fetch", "photo", "settle"]
_AGAIN_S = 5.0  # between two looks at the canary: a fault of ours that begins during a flood of bad photos is noticed
_WARN_EVERY_S = 60.0
_PHOTO_STAGES = ("decode", "detect", "engine")


@dataclass(frozen=True, slots=True)
class Ended:
    """How an event ended, as far as the breaker needs to know."""

    failed: Step | None
    """The step that gave it up; None if something of the event remains, or a retry."""
    sender: str
    """Who is behind it; empty if nobody is named."""
    passed: frozenset[Step]
    """The steps that it passed."""


def ended(job: Job, *, dead: bool) -> Ended:
    """What the breaker needs to know of an event that ended; `dead` if only dead letters are left of it."""
    event = job.event
    if event is None:
        at_fault: Step = "photo" if job.gave_up and job.gave_up.stage == "engine" else "event"
        return Ended(at_fault if dead else None, (job.record.key or b"").decode("utf-8", "replace"), frozenset())
    hosts = {ref.image_id: _host(ref.url) for ref in event.images if ref.url}
    unfetched = {image_id for image_id, why in job.bad.items() if why.stage == "fetch"}
    fetched = hosts.keys() - unfetched if job.rows or job.bad else frozenset[str]()
    passed: set[Step] = {"event"}
    passed |= {"fetch"} if fetched else set()
    passed |= {"photo"} if job.rows else set()
    passed |= set() if job.gave_up else {"settle"}
    failed: Step | None = None
    if dead:
        why = job.gave_up or next(iter(job.bad.values()))
        failed = "photo" if why.stage in _PHOTO_STAGES else "fetch" if why.stage == "fetch" else "settle"
    host = next((host for image_id, host in hosts.items() if image_id in unfetched), "")
    return Ended(failed, event.seller_id or host or next(iter(hosts.values()), ""), frozenset(passed))


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # `http://[`
        return ""


class Breaker:
    """Watches how the last `window` events ended. Thread-safe."""

    def __init__(
        self,
        *,
        share: float,
        window: int,
        senders: int,
        canary: Callable[[], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`canary` says what is wrong with our own photos, or nothing. `senders`: how many count as many. `clock` gives
        seconds."""
        self._share, self._senders, self._canary, self._clock = share, senders, canary, clock
        self._recent: deque[Ended] = deque(maxlen=window)
        self._lock = threading.Lock()
        self._judging = threading.Lock()
        self._looked = self._warned = float("-inf")
        self.reason = ""
        """Why the tagger must stop, in words; empty while it may go on."""

    @property
    def tripped(self) -> bool:
        """True if a fault of ours was found."""
        return bool(self.reason)

    def note(self, one: Ended) -> None:
        """Count an event that ended. May run the canary in the calling thread, which takes some milliseconds."""
        with self._lock:
            self._recent.append(one)
            recent = list(self._recent) if self._due(one) else []
        if recent and self._judging.acquire(blocking=False):
            try:
                self.reason = self.reason or self._judge(recent)
            finally:
                self._judging.release()

    def _due(self, one: Ended) -> bool:
        if one.failed is None or self.tripped or len(self._recent) != self._recent.maxlen:
            return False
        dead = sum(1 for other in self._recent if other.failed is not None)
        if dead <= self._share * len(self._recent) or self._clock() - self._looked < _AGAIN_S:
            return False
        self._looked = self._clock()
        return True

    def _judge(self, recent: list[Ended]) -> str:
        """Why the fault is ours; empty if it is not."""
        dead = Counter(one.failed for one in recent if one.failed is not None)
        what = f"{dead.total()} of the last {len(recent)} events became dead letters"
        if dead["photo"] and (wrong := self._canary()):
            return f"{what}, and our own test photos fail, too: {wrong}"
        for step in ("event", "fetch", "settle"):
            senders = {one.sender for one in recent if one.failed == step and one.sender}
            if len(senders) >= self._senders and not any(step in one.passed for one in recent):
                return f"{what}; the step '{step}' failed for {len(senders)} senders and passed for none"
        self._say(f"{what}, by step: {', '.join(f'{step} {count}' for step, count in dead.most_common())}")
        return ""

    def _say(self, what: str) -> None:
        if self._clock() - self._warned >= _WARN_EVERY_S:
            self._warned = self._clock()
            _log.warning("%s. Our own test photos pass, so the listings are at fault; the tagger goes on", what)
