"""Stops a home's servers when the process that started them is gone, even after a kill -9."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


class Guard:
    """A second process (`guard_process.py`) that watches this one, until it is released.

    The second process reads its standard input, and this one holds the other end open. The system closes that end when
    this process ends, however it ends.
    """

    def __init__(self, home: Path) -> None:
        """Start watching on behalf of `home`."""
        root = str(Path(__file__).parents[2])  # so that the script is found where the package is not installed
        self._watcher = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.guard_process", str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]).strip(":")},
            start_new_session=True,
        )

    def release(self) -> None:
        """Stop watching. The servers keep running."""
        self._watcher.kill()
        self._watcher.wait()
        if self._watcher.stdin is not None:
            self._watcher.stdin.close()
