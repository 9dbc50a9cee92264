"""Server processes: started independently, found by a mark on their command line, signalled, and stopped within bounds.

A process is found by its mark, never by a remembered id, which may belong to another process by now. This also finds
processes that an earlier run left behind, even if its files are gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil  # type: ignore[import-untyped]

_MARK = "-Dgroknet.service="
_children: dict[int, subprocess.Popen[bytes]] = {}  # so that this process reaps the processes that it started
_children_lock = threading.Lock()  # servers are started and stopped by several threads at once


def mark(home: Path, name: str) -> str:
    """Return the command line argument that says whose server a process is."""
    return f"{_MARK}{home}#{name}"


def spawn(command: Sequence[str], environment: Mapping[str, str], output: Path) -> int:
    """Start a process that outlives this one and does not get its Ctrl-C. Returns its id.

    `output` then contains only the output of this process.
    """
    with output.open("wb") as out:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            cwd=output.parent,
            start_new_session=True,
        )
    with _children_lock:
        _children[child.pid] = child
    return child.pid


def find(home: Path) -> dict[str, psutil.Process]:
    """Return the live servers of a home by name."""
    with _children_lock:
        children = list(_children.values())
    for child in children:
        child.poll()
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        for argument in process.info["cmdline"] or ():
            if argument.startswith(_MARK):
                owner, _, name = argument.removeprefix(_MARK).rpartition("#")
                if owner == str(home):
                    found[name] = process
    return found


def lives(pid: int) -> bool:
    """Return whether a process that was just found or started is alive.

    It does not look at the command line, which is empty for a moment after the start.
    """
    child = _children.get(pid)
    if child is not None:
        return child.poll() is None
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def started_at(process: psutil.Process) -> str:
    """Return when it started: ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(process.create_time(), UTC).isoformat(timespec="seconds")


def pause(process: psutil.Process, timeout_s: float = 10.0) -> None:
    """Send SIGSTOP, and wait until the system shows the process as stopped.

    A process that waits for a busy core takes the signal only when it runs. With four busy loops on two cores, 199 of
    200 processes were still shown as running right after the signal.

    Raises:
        TimeoutError: it does not stop.
    """
    process.suspend()
    until = time.monotonic() + timeout_s
    while not is_paused(process):
        if time.monotonic() > until:
            raise TimeoutError(f"process {process.pid} did not stop within {timeout_s:g} s of SIGSTOP")
        time.sleep(0.002)


def is_paused(process: psutil.Process) -> bool:
    """Return whether it is stopped by SIGSTOP."""
    return bool(process.status() == psutil.STATUS_STOPPED)


def terminate(process: psutil.Process) -> None:
    """Ask it to stop. A paused process is resumed, so that it gets the signal."""
    for number in (signal.SIGTERM, signal.SIGCONT):
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return


def kill(process: psutil.Process) -> None:
    """Kill it, and wait until it is gone."""
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
    wait(process, 10.0)


def wait(process: psutil.Process, timeout_s: float) -> bool:
    """Wait until it is gone, and return whether it is."""
    child = _children.get(process.pid)
    try:
        if child is not None:
            child.wait(timeout_s)
            with _children_lock:
                _children.pop(process.pid, None)  # two threads may wait for it
        else:
            process.wait(timeout_s)
    except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
        return False
    return True
