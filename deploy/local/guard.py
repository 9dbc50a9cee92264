"""A process that stops a home's servers when the one that started them is gone, however that ended.

    python -m deploy.local.guard HOME

It reads its standard input, whose other end the starter holds open; the system closes that even after a kill -9.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path


class Guard:
    """Watches over this process on behalf of a home, until it is released."""

    def __init__(self, home: Path) -> None:
        """Start watching."""
        root = str(Path(__file__).parents[2])  # found there also where the package is not installed
        self._watcher = subprocess.Popen(
            [sys.executable, "-m", __name__, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]).strip(":")},
            start_new_session=True,
        )

    def release(self) -> None:
        """Stop watching; the servers run on."""
        self._watcher.kill()
        self._watcher.wait()
        if self._watcher.stdin is not None:
            self._watcher.stdin.close()


def main() -> None:
    """Wait for the end of standard input, then stop what runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.read()
    from deploy.local.services import Services

    Services(Path(sys.argv[1])).down()


if __name__ == "__main__":
    main()
