"""Why a server ended, taken from what it has left."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from deploy.local.settings import Server

_LINES = 300  # of a log: what is older belongs to another start
_WORDS = 400  # characters that fit a sentence
# `Caused by: java.lang.IllegalStateException: Failed to bind port 26000`, and how the runtime itself gives up
_CAUSE = re.compile(r"([\w$]+\.)+[\w$]*(Exception|Error)\b|\bERROR\b|^Unrecognized |^Error occurred")


def last_words(server: Server) -> str:
    """The root cause that a server's logs name, else its last line, with the file to look into."""
    files = sorted((Path(log) for log in server.logs if Path(log).exists()), key=lambda file: file.stat().st_mtime)
    for file in reversed(files):  # what was written last speaks of this start
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()[-_LINES:]
        if any(_CAUSE.search(line) for line in lines):
            return f"{fault(lines)} (see {file})"
    return f"see {server.logs[0]}"


def fault(lines: Sequence[str]) -> str:
    """The last cause that lines of Java name, not the stack below it; the last line where there is none."""
    causes = [line for line in lines if _CAUSE.search(line) and not line.startswith(("\tat ", "at "))]
    return (causes or list(lines) or ["it said nothing"])[-1].strip()[:_WORDS]
