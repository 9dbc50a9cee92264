"""One function over many parts, by Ray Data: on this machine, or on the cluster that RAY_ADDRESS names.

Ray Data moves the parts, starts the workers, and repeats what a dead worker had in hand. The results come in the order
of the parts and are those of `process_map`. Parts go through Ray in rounds, so that memory does not grow with their
number.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count, islice
from typing import Any, TypeVar

from schemas.errors import ConfigError
from training.bulk.process_map import TRIES, to_blame

Part = TypeVar("Part")
Result = TypeVar("Result")
_ROUND = 4096  # parts; a round ends with some idle workers, so it is long against one part
_STARTS = 4
_QUIET = {"log_to_driver": False, "logging_level": "ERROR"}
_HERE = {
    # Ray lowers the priority of its workers by 15. Next to any other work of the machine they would stand still.
    "RAY_worker_niceness": "0",
    # In spite of its name, on Linux too: Ray listens on the loopback address, because its ports have no password.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing about this work is sent to anybody
}


def ray_map(
    function: Callable[[Part], Result], parts: Iterable[Part], *, workers: int = 2, ahead: int | None = None
) -> Iterator[Result]:
    """The results of `function` for each part, in their order. Arguments as of `process_map`, but a round has `ahead`
    parts for each worker, or `_ROUND` parts.

    Without RAY_ADDRESS, Ray starts on the loopback address of this machine with `workers` cores, and ends with this
    process. A cluster that somebody else runs on this machine is not joined. On a cluster, every machine needs this
    package and must see all files under the same paths.

    Raises:
        ConfigError: a part ends its worker three times, of which the last time alone; or Ray is not installed.
    """
    ray = _started(workers)
    left, size = iter(parts), _ROUND if ahead is None else ahead * workers
    for begin in count(0, size):
        todo, done = list(islice(left, size)), 0
        if not todo:
            return
        while done < len(todo):
            for result in _run(ray, function, todo[done:], workers):
                done += 1
                yield result
            if done < len(todo):  # Ray gave the part up; run it alone, to know why
                yield _alone(ray, function, begin + done, todo[done])
                done += 1


def _run(
    ray: Any, function: Callable[[Part], Result], parts: Sequence[Part], workers: int, *, give_up: bool = True
) -> Iterator[Result]:
    """The results up to the first part that Ray gives up: it ended its worker at each try but the last of `TRIES`.
    Without `give_up` there is only that last one, whose error is raised."""
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = context.print_on_execution_start = False
    context.max_errored_blocks = -1 if give_up else 0  # -1: such a part is missing from the results
    retries = TRIES - 2 if give_up else 0
    rows = [{"number": number, "part": pickle.dumps(part)} for number, part in enumerate(parts)]
    with warnings.catch_warnings():  # max_retries goes away in Ray 2.64, which pyproject.toml excludes
        warnings.simplefilter("ignore")
        found = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            partial(_made, function), batch_size=None, concurrency=min(workers, len(rows)), max_retries=retries
        )
    for number, row in enumerate(found.iter_rows()):
        if row["number"] != number:
            return
        made = pickle.loads(row["made"])
        if row["failed"]:
            raise made
        yield made


def _alone(ray: Any, function: Callable[[Part], Result], number: int, part: Part) -> Result:
    try:
        return next(_run(ray, function, [part], 1, give_up=False))
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
        raise ConfigError(to_blame(number, part)) from None


def _made(function: Callable[[Any], Any], batch: dict[str, Any]) -> dict[str, list[Any]]:
    """The function over one block of parts. What it raises becomes a result, so that it is raised here as it was."""
    made, failed = [], []
    for part in batch["part"]:
        try:
            result, error = function(pickle.loads(part)), False
        except Exception as raised:
            result, error = raised, True
        made.append(pickle.dumps(result))
        failed.append(error)
    return {"number": list(batch["number"]), "made": made, "failed": failed}


def _started(workers: int) -> Any:
    """The module ray, running."""
    cluster = os.environ.get("RAY_ADDRESS")
    for name, value in ({} if cluster else _HERE).items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        text = f"--engine ray: the package {error.name} is not installed; pip install 'groknet[bulk]', or take pool"
        raise ConfigError(text) from None
    if not ray.is_initialized():
        with _keeping_sigterm():
            if cluster:
                ray.init(**_QUIET)
            else:
                _start_here(ray, workers)
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its folder of logs has what it says
    return ray


@contextmanager
def _keeping_sigterm() -> Iterator[None]:
    """Keep the caller's handler, which may want to stop in order. Ray puts its own in its place."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if callable(before) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


def _start_here(ray: Any, workers: int) -> None:
    """Start Ray on this machine. It gives its own processes 30 s, which cannot be set, so a busy machine may need more
    than one try."""
    for left in reversed(range(_STARTS)):
        try:
            ray.init("local", num_cpus=workers, include_dashboard=False, **_QUIET)
            return
        except Exception as error:  # Ray has no class of its own for this
            ray.shutdown()
            if "timed out during startup" not in str(error):
                raise
            if not left:
                text = f"--engine ray: Ray did not start in {_STARTS} tries; the machine is too busy, or take pool"
                raise ConfigError(text) from None
