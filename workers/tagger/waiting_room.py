"""Keeps events that wait for their next try. One thread hands them back when they are due, so no other thread
sleeps."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from workers.stages.job import Job
from workers.tagger.hold import Hold

HELD_S = 0.5  # shortest wait of an event in a hold, so that a service that comes back is not overloaded

Back = Callable[[Sequence[Job]], None]


@dataclass(order=True, slots=True)
class _Entry:
    due: float
    number: int
    job: Job = field(compare=False)
    back: Back = field(compare=False)


class WaitingRoom:
    """Jobs, ordered by the time of their next try. During a hold no job leaves; when it ends, all due jobs leave."""

    def __init__(self, hold: Hold) -> None:
        self._hold = hold
        self._entries: list[_Entry] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._stopped = False

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, job: Job, wait_s: float, back: Back) -> None:
        """Keep a job for `wait_s` seconds, and as long as a hold lasts. Then call `back` with it."""
        with self._changed:
            heapq.heappush(self._entries, _Entry(time.monotonic() + wait_s, next(self._numbers), job, back))
            self._changed.notify()

    def look(self) -> None:
        """Say that the hold has ended, so that due jobs leave."""
        with self._changed:
            self._changed.notify()

    def stop(self) -> None:
        """End `run`. The remaining jobs are not handed back."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def run(self) -> None:
        """Hand jobs back until `stop`. The body of a thread."""
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
        """Wait for due entries and take them out. None after `stop`."""
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
