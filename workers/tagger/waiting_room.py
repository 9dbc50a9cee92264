"""Events that wait to be tried again, so that no thread sleeps for them: one thread hands them back when it is time."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from workers.stages.job import Job
from workers.tagger.hold import Hold

HELD_S = 0.5  # what a hold has kept is not tried again sooner, so that a service on its way back is not pressed

Back = Callable[[Sequence[Job]], None]


@dataclass(order=True, slots=True)
class _Entry:
    due: float
    number: int
    job: Job = field(compare=False)
    back: Back = field(compare=False)


class WaitingRoom:
    """Jobs by the time of their next try. While the hold is on nobody leaves; when it ends, all that is due does."""

    def __init__(self, hold: Hold) -> None:
        self._hold = hold
        self._entries: list[_Entry] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._stopped = False

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, job: Job, wait_s: float, back: Back) -> None:
        """Keep a job for `wait_s` seconds, and for as long as a hold lasts; `back` then takes it on."""
        with self._changed:
            heapq.heappush(self._entries, _Entry(time.monotonic() + wait_s, next(self._numbers), job, back))
            self._changed.notify()

    def look(self) -> None:
        """The hold has ended: see who may go."""
        with self._changed:
            self._changed.notify()

    def stop(self) -> None:
        """End `run`; whoever is still here stays."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def run(self) -> None:
        """Hand jobs back until `stop`; the body of a thread."""
        while True:
            with self._changed:
                due = self._due()
                if due is None:
                    return
            backs: dict[Back, list[Job]] = {}
            for entry in due:
                backs.setdefault(entry.back, []).append(entry.job)
            for back, jobs in backs.items():
                back(jobs)

    def _due(self) -> list[_Entry] | None:
        """Wait for some that are due, and take them out; None after `stop`."""
        while not self._stopped:
            now = time.monotonic()
            due: list[_Entry] = []
            if not self._hold.on:
                while self._entries and self._entries[0].due <= now:
                    due.append(heapq.heappop(self._entries))
            if due:
                return due
            idle = self._hold.on or not self._entries
            self._changed.wait(None if idle else self._entries[0].due - now)
        return None
