"""The command line: which commands there are, the options they share, exit codes, and output on a terminal.

Importing this package imports no other room, so that `main` can first check that the rooms are groknet's own.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn

from groknet.cli.own_rooms import other_rooms


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command, then end the process with its exit code. A failure is one sentence on stderr."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. By default `arguments` are those of the process."""
    problem = other_rooms()
    if problem:
        print(f"groknet: {problem}", file=sys.stderr)
        return 2  # Exit.USAGE, whose module needs a room
    from groknet.cli.app import run as run_command

    return int(run_command(arguments))
