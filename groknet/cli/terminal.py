"""Output for people: notes and progress on stderr, results on stdout. Colours and bars appear only on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from groknet.cli.plain_text import shown_lines
from schemas.plain_text import escaped_json

_WIDE = 240  # columns where there is no terminal whose width would say: tables are not folded into a pipe


def stdout() -> Console:
    """The console for results. It uses no colour if stdout is not a terminal or NO_COLOR is set. Text is printed
    unchanged, because text from an event must not act as markup."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    if not console.is_terminal:
        console.width = _WIDE
    return console


def stderr() -> Console:
    """The console for notes and progress."""
    return Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


def note(text: str) -> None:
    """One line on stderr. Control characters are escaped, because the text may quote what a stranger wrote."""
    print(shown_lines(text), file=sys.stderr, flush=True)


def json_line(value: Any) -> None:
    """One line of JSON on stdout, flushed, so that a pipe sees it at once."""
    sys.stdout.write(escaped_json(msgspec.json.encode(value).decode()) + "\n")
    sys.stdout.flush()


class _Rate(ProgressColumn):
    """Shows the items a second since the start."""

    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{rate:.1f}/s")


@contextmanager
def progress(*, quiet: bool = False, time_left: bool = False) -> Iterator[Progress]:
    """A progress display on stderr with bar, count, rate and time. It shows nothing if stderr is not a terminal.

    Args:
        quiet: show nothing.
        time_left: show the time that is left instead of the time that has passed.
    """
    console = stderr()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn() if time_left else TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as bar:
        yield bar


def duration(seconds: float) -> str:
    """A duration in seconds as text, in a suitable unit."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h"


def local_time(seconds: float, now: float) -> str:
    """A time (UTC seconds) as text in the local zone, to the second. The date is added if it is not that of `now`."""
    try:
        there, here = datetime.fromtimestamp(seconds), datetime.fromtimestamp(now)
    except (OverflowError, ValueError, OSError):
        return "a time that no calendar has"
    return there.strftime("%H:%M:%S" if there.date() == here.date() else "%Y-%m-%d %H:%M:%S")
