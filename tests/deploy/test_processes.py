"""Signals to processes on a busy machine."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from deploy.local.system import processes


def test_a_process_is_stopped_when_pause_returns() -> None:
    """With every core taken a signal waits for its process's turn; without the wait nearly each of these fails."""
    hogs = 2 * (psutil.cpu_count() or 1) + 1
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(hogs)]
    try:
        process = psutil.Process(busy[0].pid)
        for _ in range(20):
            processes.pause(process)
            assert process.status() == psutil.STATUS_STOPPED
            process.resume()
            time.sleep(0.005)  # its turn passes
    finally:
        for child in busy:
            child.kill()
            child.wait()


def test_servers_are_looked_for_while_others_start_and_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several threads start, end and look for servers; without the lock a look meets a change within milliseconds."""
    monkeypatch.setattr(psutil, "process_iter", lambda attrs: iter(()))  # all other processes are not at issue
    ended = threading.Event()

    def come_and_go() -> None:
        try:
            for _ in range(40):
                process = psutil.Process(processes.spawn(["sleep", "60"], {}, tmp_path / "out"))
                process.kill()
                assert processes.wait(process, 10.0)
        finally:
            ended.set()

    thread = threading.Thread(target=come_and_go)
    thread.start()
    while not ended.is_set():
        assert processes.find(tmp_path) == {}
    thread.join()
