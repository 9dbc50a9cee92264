"""Processor time by thread and by child process, from the kernel, and by function, from a profiler."""

from __future__ import annotations

import cProfile
import os
import pstats
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

_TASKS = Path("/proc/self/task")
_DECODES = b"engines.pixels.multiprocess.decode_process"
_NATIVE = "of libraries"  # threads that Python does not know


def thread_seconds() -> dict[str, float]:
    """Processor seconds of this process's threads so far, by name without its number. Empty except on Linux."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    found: defaultdict[str, float] = defaultdict(float)
    for task in _TASKS.iterdir() if _TASKS.exists() else ():
        try:
            ran_ns = int((task / "schedstat").read_text().split()[0])
        except OSError:  # it has ended
            continue
        name = names.get(int(task.name), _NATIVE)
        found[name.rstrip("0123456789-")] += ran_ns / 1e9
    return found


def decode_process_seconds() -> float:
    """Processor seconds so far of this process's children that decode. 0 except on Linux."""
    spent_ns = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and _DECODES in (stat.parent / "cmdline").read_bytes():
                spent_ns += sum(int(one.read_text().split()[0]) for one in stat.parent.glob("task/*/schedstat"))
        except OSError:  # it has ended
            continue
    return spent_ns / 1e9


def profiler(profiles: list[cProfile.Profile]) -> Callable[[FrameType, str, Any], None]:
    """A hook for `threading.setprofile`. It profiles each new thread by the thread's own clock, and adds the profile to
    the list."""

    def begin(_frame: FrameType, _event: str, _argument: Any) -> None:
        profile = cProfile.Profile(time.thread_time)
        profiles.append(profile)
        profile.enable()  # takes this hook's place in the thread

    return begin


def summary(profiles: list[cProfile.Profile], events: int) -> dict[str, Any]:
    """The processor time of all threads by package, and by function with its calls an event."""
    stats: pstats.Stats | None = None
    for profile in profiles:
        if profile.getstats():
            stats = pstats.Stats(profile) if stats is None else stats.add(profile)
    if stats is None:
        return {}
    packages: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for (file, line, name), (_, count, own, _, _) in stats.stats.items():  # type: ignore[attr-defined]
        function = f"{'/'.join(Path(file).parts[-2:])}:{line} {name}"
        packages[_package(file, name)] += own
        functions[function] += own
        calls[function] += count
    whole = sum(packages.values())
    top = functions.most_common(20)
    return {
        "percent_by_package": {name: round(100 * own / whole, 1) for name, own in packages.most_common(12)},
        "percent_by_function": {name: round(100 * own / whole, 1) for name, own in top},
        "calls_an_event": {name: round(calls[name] / events, 1) for name, _ in top},
    }


def _package(file: str, name: str) -> str:
    if file == "~":
        return f"built in: {name}"[:60]
    parts = Path(file).parts
    for place in ("site-packages", "python3.11", "python3.12", "python3.13"):
        if place in parts:
            return parts[parts.index(place) + 1].removesuffix(".py")
    return "/".join(parts[-3:-1])
