"""Is the process behind a member still there? Better than a lease: a killed process is noticed at once.

Only asked about processes of our own process-id namespace; for others (a container beside us) the lease decides.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import NamedTuple


class ProcessId(NamedTuple):
    """A process. Its start time distinguishes it from a later process with the same number."""

    space: str
    """Boot and process-id namespace; '' where the system does not say."""
    pid: int
    started: int
    """Clock ticks since boot; 0 where the system does not say."""


@lru_cache(maxsize=1)
def _space() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """Start time of a live process, 0 where /proc is missing, None when the process is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except FileNotFoundError:
        return None if os.path.exists("/proc/self/stat") else 0
    except ProcessLookupError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])  # field 22 of proc(5): starttime


def this_process() -> ProcessId:
    """The current process."""
    pid = os.getpid()
    return ProcessId(_space(), pid, _started(pid) or 0)


def surely_dead(process: ProcessId) -> bool:
    """True if the process certainly no longer runs; False if it may still run."""
    if process.space != _space():
        return False
    started = _started(process.pid)
    if started is None:
        return True
    if started and process.started:
        return started != process.started
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
