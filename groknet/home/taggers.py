"""The taggers of one home: `tagger`, `tagger-2`, `tagger-3` … Each has a lock, an announcement, a log and a port."""

from __future__ import annotations

import re

from groknet.cli.exits import CommandError, Exit
from groknet.home.paths import Home
from groknet.home.running import Lock, Running, is_locked, read_running

MOST = 256  # `workers.tagger.completion.journal` can distinguish this many in one home
_NAME = re.compile(r"tagger(?:-([1-9]\d{0,2}))?")
_GLANCE_S = 0.1  # a process that only checks whether a name is taken holds its lock for microseconds


def tagger_name(slot: int) -> str:
    """The name of the tagger in a slot, counted from 0."""
    return "tagger" if slot == 0 else f"tagger-{slot + 1}"


def slot_of(name: str) -> int | None:
    """The slot of a tagger's name. None if it is not the name of a tagger."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    number = int(match[1] or 1)
    return number - 1 if match[1] is None or number > 1 else None


def running_taggers(home: Home) -> dict[str, Running]:
    """The running taggers of a home that have announced themselves, by name, in the order of their slots."""
    slots = sorted(slot for path in home.run.glob("tagger*.json") if (slot := slot_of(path.stem)) is not None)
    names = [name for name in map(tagger_name, slots) if is_locked(home, name)]
    return {name: running for name in names if (running := read_running(home, name)) is not None}


def keep_name(home: Home, name: str) -> Lock:
    """Reserve a tagger's name for the child of a supervisor. `claim` without a slot skips it, even while the child is
    being restarted. Raises CommandError if another supervisor has the name."""
    return Lock(home, f"{name}.kept")


def claim(home: Home, slot: int | None, patience_s: float) -> tuple[int, Lock]:
    """Take the tagger's `slot`, or the first free one. Returns the slot and its lock.

    Raises CommandError if the slot is still taken after `patience_s` seconds, or if no slot is free.
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
    raise CommandError(f"{home.root} has {MOST} taggers already; give this one another --home", Exit.USAGE)
