"""One schedule: a workload, a kind of trouble, all drawn from a seed alone. `tests/faults/kinds.py` has the kinds."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ClassVar

from schemas.events import ListingEvent
from tests.faults.leaving import with_leaving_seller
from tests.faults.oracle import Verdict
from tests.faults.photo_host import PhotoHost, addressed
from tests.faults.poison import poisoned
from tests.faults.town import PRODUCTS_WORKER, Town
from tests.faults.workload import workload

KAFKA, CASSANDRA = "kafka-1", "cassandra-1"
SERVERS = (KAFKA, CASSANDRA)
WARM_LISTINGS = 40
"""Of the portion by which a town's rate is measured: some two seconds of work."""
_runs = itertools.count()


class Schedule:
    """What is sent and what is done; `steps` names the faults so far, `verdict` has what was seen on the way."""

    kind: ClassVar[str]
    supervised: ClassVar[bool] = False
    by_url: ClassVar[float] = 0.05
    """Share of the events that have a photo by URL, which fails at first: these alone may be retried."""
    times: ClassVar[int] = 1
    """As many listings as other kinds have."""
    hanging: ClassVar[float] = 0.5
    """Share of these whose host hangs; the others' answers 503."""

    def __init__(
        self, seed: int, photos: list[bytes], host: PhotoHost, *, listings: int, faults: int, products: bool = False
    ) -> None:
        """`products`: a seller leaves, and what may be done to a worker may be done to the one of products."""
        self._rng = random.Random(f"{self.kind} {seed}")
        self._photos, self._host, self._faults = photos, host, faults
        self._name = f"run-{next(_runs)}"  # a town may see several, the same seed twice among them
        events = poisoned(workload(self.times * listings, photos, seed, self._name), share=0.05, seed=seed)
        events = addressed(events, host, seed, share=self.by_url, hanging=self.hanging)
        self._events = with_leaving_seller(events, seed) if products else events
        self._others = (PRODUCTS_WORKER,) if products else ()
        self._warm = workload(WARM_LISTINGS, photos, seed, f"{self._name}-warm")
        self.steps: list[str] = []
        self.verdict = Verdict()

    def run(self, town: Town) -> float:
        """Measure the town's rate, then do the kind's own; returns the rate, when the last fault is over."""
        rate = town.measure(self._warm)
        self._act(town)
        return rate

    def _act(self, town: Town) -> None:
        """Send the events and make the faults; returns when the last of them is over."""
        raise NotImplementedError

    def _portions(self, count: int) -> list[list[ListingEvent]]:
        size = -(-len(self._events) // count)
        return [self._events[i : i + size] for i in range(0, len(self._events), size)]


class Behind:
    """Faults under way behind what comes next; nothing has two at once. A context manager that waits for all."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(4)
        self._under_way: dict[str, Future[None]] = {}

    def __enter__(self) -> Behind:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._over(*self._under_way)
        finally:
            self._pool.shutdown()

    def begin(self, who: str, action: Callable[[], None]) -> None:
        """Start one, after what is done to the same one is over."""
        self._over(who)
        self._under_way[who] = self._pool.submit(action)

    def going_on(self, who: str) -> bool:
        """True while it is under way."""
        return not self._under_way[who].done()

    def _over(self, *names: str) -> None:
        for name in list(names):
            if name in self._under_way:
                self._under_way.pop(name).result()


def pause(seconds: float) -> None:
    """Let time pass: part of what is done, not of what is waited for."""
    time.sleep(seconds)
