"""Signals to processes on a busy machine."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil  # type: ignore[import-untyped]

from deploy.local import processes


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
