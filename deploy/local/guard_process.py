"""The script that `guard.Guard` runs: it waits for the end of its standard input, then stops the home's servers.

python -m deploy.local.guard_process HOME
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from deploy.local.services import Services


def main() -> None:
    """Block until the starter is gone, then stop what runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches this process too, and must not end the watch
    sys.stdin.read()
    Services(Path(sys.argv[1])).down()


if __name__ == "__main__":
    main()
