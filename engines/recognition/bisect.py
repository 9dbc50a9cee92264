"""Runs a batch, and finds the photo that makes it fail by halving the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from schemas.errors import DeviceLost, Invalid

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_halving(
    items: Sequence[Item],
    run: Callable[[Sequence[Item]], Sequence[Result]],
    *,
    alone: Callable[[Item, Exception], Invalid],
    halve_on: type[Exception] = Invalid,
) -> list[Result | Invalid]:
    """Run a batch. If it fails, run its halves, and so on until each failing photo is alone.

    Example:

        outcomes = run_halving(photos, lambda some: engine_rows(engine, some), alone=lambda photo, error: error)

    Args:
        items: the batch, one item for each photo; it may be empty.
        run: computes one result for each item, in order. It is called with the whole batch first, then with parts.
        alone: says what is wrong with the one photo that failed alone. It raises when the engine is at fault, for
            example because the engine fails its own parity photos as well.
        halve_on: errors that one photo may have caused. Any other error is raised at once. DeviceLost is always
            raised at once, because no photo can cause it.

    Returns:
        One outcome for each item, in order: its result, or the error that it caused.

    Raises:
        ValueError: `run` gave another number of results than it was given items.
        Exception: what `run` or `alone` raised and no photo caused.
    """
    if not items:
        return []
    try:
        results = run(items)
    except DeviceLost:
        raise
    except halve_on as error:
        if len(items) == 1:
            return [alone(items[0], error)]
        half = len(items) // 2
        first = run_halving(items[:half], run, alone=alone, halve_on=halve_on)
        return first + run_halving(items[half:], run, alone=alone, halve_on=halve_on)
    if len(results) != len(items):
        raise ValueError(f"run: {len(results)} results for {len(items)} photos; it must give one for each")
    return list(results)
