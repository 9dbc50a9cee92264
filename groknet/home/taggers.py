"""The taggers of one home: `tagger`, `tagger-2`, `tagger-3` … Each has a lock, an announcement, a log and a port."""

from __future__ import annotations

import re

from groknet.cli.exits import CommandError, Exit
from groknet.home.paths import Home
from groknet.home.running import Lock, Running, is_locked, read_running

MOST = 256  # as many as `workers.tagger.completion.journal` keeps apart in one home
_NAME = re.compile(r"tagger(?:-([1-9]\d{0,2}))?")
_GLANCE_S = 0.1  # somebody who only looks whether a name is taken holds its lock for microseconds


def tagger_name(slot: int) -> str:
    """The name of the tagger in a slot, counted from 0."""
    return "tagger" if slot == 0 else f"tagger-{slot + 1}"


def slot_of(name: str) -> int | None:
    """The slot of a tagger's name; None for another name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    number = int(match[1] or 1)
    return number - 1 if match[1] is None or number > 1 else None


def running_taggers(home: Home) -> dict[str, Running]:
    """The taggers that run on a home and have announced themselves, by name in the order of their slots."""
    slots = sorted(slot for path in home.run.glob("tagger*.json") if (slot := slot_of(path.stem)) is not None)
    names = [name for name in map(tagger_name, slots) if is_locked(home, name)]
    return {name: running for name in names if (running := read_running(home, name)) is not None}


def keep_name(home: Home, name: str) -> Lock:
    """Reserve a tagger's name for the child of a supervisor: `claim` without a slot passes over it, also while the
    child is between two of its lives. Raises CommandError when another supervisor has it."""
    return Lock(home, f"{name}.kept")


def claim(home: Home, slot: int | None, patience_s: float) -> tuple[int, Lock]:
    """Become the tagger of `slot`, else of the first free one; returns the slot and its lock.

    Raises CommandError when the slot is still taken after `patience_s` seconds, or none is free.
    """
    if slot is not None:
        return slot, Lock(home, tagger_name(slot), patience_s)
    for free in range(MOST):
        name = tagger_name(free)
        if is_locked(home, f"{name}.kept"):
            continue
        try:
            return free, Lock(home, name, _GLANCE_S)
        except CommandError:
            continue
    raise CommandError(f"{home.root} has {MOST} taggers already; give this one a home of its own", Exit.USAGE)
