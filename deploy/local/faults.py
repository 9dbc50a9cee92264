"""Finds out why a server ended, from its logs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from deploy.local.settings import Server

_LINES = 300  # at the end of a log: older lines belong to another start
_WORDS = 400  # characters of a cause in a message
# `Caused by: java.lang.IllegalStateException: Failed to bind port 26000`, and how the runtime itself gives up
_CAUSE = re.compile(r"([\w$]+\.)+[\w$]*(Exception|Error)\b|\bERROR\b|^Unrecognized |^Error occurred")


def last_words(server: Server) -> str:
    """Return the root cause in a server's logs, or its last line, with the file to look into."""
    files = sorted((Path(log) for log in server.logs if Path(log).exists()), key=lambda file: file.stat().st_mtime)
    for file in reversed(files):  # the newest file belongs to this start
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()[-_LINES:]
        if any(_CAUSE.search(line) for line in lines):
            return f"{fault(lines)} (see {file})"
    return f"see {server.logs[0]}"


def fault(lines: Sequence[str]) -> str:
    """Return the last cause in some lines of Java, without its stack, or the last line if there is no cause."""
    causes = [line for line in lines if _CAUSE.search(line) and not line.startswith(("\tat ", "at "))]
    return (causes or list(lines) or ["it said nothing"])[-1].strip()[:_WORDS]
