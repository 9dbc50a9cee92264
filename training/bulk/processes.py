"""Run a function on every item of a stream, on a pool of processes.

Results come in the order of the items. Only a bounded number of items is in hand at once, so memory does not grow with
their number. An item that kills its process costs nobody else: what was in hand runs again, item by item where needed,
and the item to blame gives `Died`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from typing import Generic, TypeVar

Job = TypeVar("Job")
Made = TypeVar("Made")
CHUNK = 16  # items that one process takes at once: less and the queue costs more than the work
AHEAD = 3  # chunks in hand for each process
TRIES = 2  # runs of an item alone before it is to blame for the death of its process


@dataclass(frozen=True)
class Died(Generic[Job]):
    """The process that worked on this item died each time."""

    job: Job


def run_on_processes(
    work: Callable[[Job], Made], jobs: Iterable[Job], *, processes: int | None = None, chunk: int = CHUNK
) -> Iterator[Made | Died[Job]]:
    """Yield `work(job)` for every job, in their order.

    Args:
        work: a function of a module, because other processes import it. What it raises is raised here.
        jobs: read only as far ahead as is needed.
        processes: None means one for each core; 1 runs in this process, where nothing protects against a crash.
        chunk: items that a process takes at once.
    """
    count = processes or os.cpu_count() or 1
    chunks = _chunks(jobs, chunk)
    if count == 1:
        yield from (work(job) for some in chunks for job in some)
        return
    pool = _Pool(work, count)
    try:
        yield from pool.run(chunks)
    finally:
        pool.close()


def _chunks(jobs: Iterable[Job], size: int) -> Iterator[list[Job]]:
    left = iter(jobs)
    while some := list(islice(left, size)):
        yield some


def _work_on(work: Callable[[Job], Made], jobs: Sequence[Job]) -> list[Made]:
    return [work(job) for job in jobs]


class _Pool(Generic[Job, Made]):
    """A pool that is made anew when one of its processes dies."""

    def __init__(self, work: Callable[[Job], Made], count: int) -> None:
        self._work, self._count = work, count
        self._executor = self._new(count)

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def run(self, chunks: Iterator[list[Job]]) -> Iterator[Made | Died[Job]]:
        waiting: deque[tuple[list[Job], Future[list[Made]]]] = deque()
        for some in islice(chunks, self._count * AHEAD):
            waiting.append((some, self._submit(some)))
        while waiting:
            some, future = waiting.popleft()
            try:
                made: list[Made | Died[Job]] = [*future.result()]
            except BrokenProcessPool:
                made = self._alone(some)
                self._restart()
                waiting = deque((jobs, self._submit(jobs)) for jobs, _ in waiting)
            yield from made
            for following in islice(chunks, 1):
                waiting.append((following, self._submit(following)))

    def _submit(self, some: list[Job]) -> Future[list[Made]]:
        try:
            return self._executor.submit(_work_on, self._work, some)
        except BrokenProcessPool:  # it died since the last result came
            self._restart()
            return self._executor.submit(_work_on, self._work, some)

    def _alone(self, some: Sequence[Job]) -> list[Made | Died[Job]]:
        """Run a chunk in a process of its own, or its items one by one if that process dies too."""
        if (made := self._once(some)) is not None:
            return [*made]
        results: list[Made | Died[Job]] = []
        for job in some:
            tries = (self._once([job]) for _ in range(TRIES))
            found = next((made for made in tries if made is not None), None)
            results.append(Died(job) if found is None else found[0])
        return results

    def _once(self, some: Sequence[Job]) -> list[Made] | None:
        with self._new(1) as executor:
            try:
                return executor.submit(_work_on, self._work, list(some)).result()
            except BrokenProcessPool:
                return None

    def _restart(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._executor = self._new(self._count)

    @staticmethod
    def _new(count: int) -> ProcessPoolExecutor:
        # spawn, as the caller may have threads (BLAS, a progress bar): a fork would copy their locks in any state
        return ProcessPoolExecutor(count, mp_context=get_context("spawn"))
