"""A progress bar with the time left, on stderr: stdout is for what a command answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress

Item = TypeVar("Item")


def tracked(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """The items, counted by a bar that is called `what` while they are taken."""
    with Progress(console=Console(stderr=True)) as bar:
        yield from bar.track(items, total=total, description=what)
