"""One function over many parts, on processes of this machine. The results come in the order of the parts.

A worker that dies costs a repetition: its parts run again in a new one, and after a second death one at a time, which
shows the part that is to blame. Then there are as many workers as before. So the function must give the same result for
the same part each time, and write nothing but files that appear whole.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

from schemas.errors import ConfigError

Part = TypeVar("Part")
Result = TypeVar("Result")
AHEAD = 4  # parts for each worker that are under way or done and not taken yet; this bounds memory
TRIES = 3  # of a part whose worker died; then the part is to blame


def process_map(
    function: Callable[[Part], Result], parts: Iterable[Part], *, workers: int = 2, ahead: int = AHEAD
) -> Iterator[Result]:
    """The results of `function` for each part, in their order.

    Args:
        function: of a module (pickled by its name, or a `functools.partial` of one). What it raises ends the map.
        parts: such as lists of a thousand paths. They are pickled.
        workers: processes of this machine.
        ahead: parts for each worker that are under way or done and not taken yet.

    Raises:
        ConfigError: a part kills its worker three times in a row.
    """
    todo, left = deque[tuple[int, Part]](), iter(enumerate(parts))
    under_way: deque[tuple[Future[Result], int, Part]] = deque()
    tries: dict[int, int] = {}
    alone = -1  # the parts up to this one run one at a time, because one of them has ended its worker
    pool = _pool(workers)
    try:
        while True:
            while len(under_way) < ahead * workers and (not under_way or under_way[-1][1] > alone):
                if (one := todo.popleft() if todo else next(left, None)) is None:
                    break
                under_way.append((_submit(pool, function, one[1]), *one))
            if not under_way:
                return
            future, number, part = under_way[0]
            try:
                result = future.result()
            except BrokenProcessPool:
                tries[number] = tries.get(number, 0) + 1
                if tries[number] >= TRIES:
                    raise ConfigError(to_blame(number, part)) from None
                pool.shutdown(cancel_futures=True)
                if tries[number] > 1:
                    alone = max(alone, under_way[-1][1])
                pool = _pool(1 if number <= alone else workers)
                todo = deque([(number, part) for _, number, part in under_way] + list(todo))
                under_way.clear()
                continue
            under_way.popleft()
            tries.pop(number, None)
            if number == alone:
                pool.shutdown(cancel_futures=True)
                pool, alone = _pool(workers), -1
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def to_blame(number: int, part: object) -> str:
    """What is wrong when a part ended its worker each time."""
    return f"part {number} ended its worker {TRIES} times; leave out what it holds: {str(part)[:200]}"


def _submit(pool: ProcessPoolExecutor, function: Callable[[Part], Result], part: Part) -> Future[Result]:
    """A future of the pool; of a pool that is broken already, a future that says so."""
    try:
        return pool.submit(function, part)
    except BrokenProcessPool as error:
        future: Future[Result] = Future()
        future.set_exception(error)
        return future


def _pool(workers: int) -> ProcessPoolExecutor:
    """Processes that are started anew, because a fork of a process with threads may hang. They end with this one."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent)


def end_with_parent() -> None:
    """End this worker when the process that started it has ended, even if it was killed. Otherwise it would wait for
    parts for ever, with its memory."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_wait_for, args=(parent.sentinel,), name="parent-watch", daemon=True).start()


def _wait_for(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
