"""Checks whether the process of a member still runs. A killed process is noticed at once, without waiting for a lease.

This works only for processes in our own process-id namespace. For others, such as another container, the lease decides.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import NamedTuple


class ProcessId(NamedTuple):
    """A process. Its start time distinguishes it from a later process with the same number."""

    space: str
    """Boot and process-id namespace; '' if the system does not tell."""
    pid: int
    started: int
    """Start time in clock ticks since boot; 0 if the system does not tell."""


@lru_cache(maxsize=1)
def _space() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """Start time of a live process in clock ticks since boot. 0 if /proc is missing, None if the process has ended or
    is a zombie."""
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
    """True if the process has certainly ended. False if it may still run."""
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
