"""One function over many parts, by the engine that was chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")
Engine = Literal["pool", "ray"]
"""`pool`: processes of this machine. `ray`: Ray Data, on this machine or on a cluster; extra [bulk]."""


def bulk_map(
    function: Callable[[Part], Result],
    parts: Iterable[Part],
    *,
    workers: int = 2,
    engine: Engine = "pool",
    ahead: int | None = None,
) -> Iterator[Result]:
    """The results of `function` for each part, in their order, and the same with either engine.

    A worker that dies costs a repetition. So the function must give the same result for the same part each time, and
    write nothing but files that appear whole.

    Args:
        function: of a module (pickled by its name, or a `functools.partial` of one). What it raises ends the map.
        parts: such as lists of a thousand paths. They are pickled.
        workers: parts that run at once.
        engine: what runs them.
        ahead: parts for each worker that are taken before their results are. A few bound memory, and let `parts` keep
            a rate. By default it is 4 with `pool`, and with `ray` 4096 parts for all workers together.

    Raises:
        ConfigError: a part ends its worker three times, or Ray is wanted and not installed.
    """
    if engine == "ray":
        from training.bulk.ray_map import ray_map

        return ray_map(function, parts, workers=workers, ahead=ahead)
    from training.bulk.process_map import AHEAD, process_map

    return process_map(function, parts, workers=workers, ahead=ahead or AHEAD)
