"""Server processes: started on their own, found by a mark on their command line, signalled, stopped in bounds.

A process is never looked up by a remembered id, which may be another's by now, but by the mark that it carries:
so one that was left over by a run whose files are gone is found as well.
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
_children: dict[int, subprocess.Popen[bytes]] = {}  # so that what this process has started is reaped by it
_children_lock = threading.Lock()  # servers are started and stopped by several threads at once


def mark(home: Path, name: str) -> str:
    """The argument that tells whose server a process is."""
    return f"{_MARK}{home}#{name}"


def spawn(command: Sequence[str], environment: Mapping[str, str], output: Path) -> int:
    """Start a process that outlives this one and hears nothing of its Ctrl-C; returns its id.

    `output` holds what this one writes, no earlier one.
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
    """The live servers of a home by name."""
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
    """True while a process that was found or started just now is there. Its command line is not looked at: for a moment
    after the start it is empty."""
    child = _children.get(pid)
    if child is not None:
        return child.poll() is None
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def started_at(process: psutil.Process) -> str:
    """When it started, ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(process.create_time(), UTC).isoformat(timespec="seconds")


def pause(process: psutil.Process, timeout_s: float = 10.0) -> None:
    """SIGSTOP, and wait until the system shows it stopped: a process that waits for its turn on a busy core takes
    the signal only then (beside four busy loops on two cores 199 times of 200 it was still shown as running).

    Raises TimeoutError where it does not stop.
    """
    process.suspend()
    until = time.monotonic() + timeout_s
    while not is_paused(process):
        if time.monotonic() > until:
            raise TimeoutError(f"process {process.pid} did not stop within {timeout_s:g} s of SIGSTOP")
        time.sleep(0.002)


def is_paused(process: psutil.Process) -> bool:
    """True after SIGSTOP."""
    return bool(process.status() == psutil.STATUS_STOPPED)


def terminate(process: psutil.Process) -> None:
    """Ask it to stop; a paused one is woken to hear that."""
    for number in (signal.SIGTERM, signal.SIGCONT):
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return


def kill(process: psutil.Process) -> None:
    """End it now and wait until it is gone."""
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
    wait(process, 10.0)


def wait(process: psutil.Process, timeout_s: float) -> bool:
    """Wait until it is gone; True when it is."""
    child = _children.get(process.pid)
    try:
        if child is not None:
            child.wait(timeout_s)
            with _children_lock:
                _children.pop(process.pid, None)  # two may wait for it
        else:
            process.wait(timeout_s)
    except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
        return False
    return True
