"""How a worker's log lines look: for people (`console`), or one JSON object a line (`json`).

Both are one line a message, whatever a stranger wrote into it. Neither shows the query string of an address, because
shops put tokens there.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any, Literal

from groknet.cli.plain_text import shown, shown_lines

LogFormat = Literal["console", "json"]
FIELDS = ("listing", "batch")
"""What a line may be about; code gives it as `extra`."""
_CONSOLE = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_QUERY = re.compile(r"((?:https?|file)://[^\s?#'\"<>]*|(?<=\s)/[^\s?#'\"<>]*)[?#][^\s'\"<>]*", re.IGNORECASE)


def formatter(form: LogFormat) -> logging.Formatter:
    """The formatter of a format."""
    return _Json() if form == "json" else _Console(_CONSOLE)


def without_queries(text: str) -> str:
    """The text with `?…` in place of the query string and the fragment of each address in it, and of each path after
    white space."""
    return _QUERY.sub(r"\1?…", text)


def _about(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}


class _Console(logging.Formatter):
    """A line to read. Only stacks have several lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        about = "".join(f" [{name} {value}]" for name, value in _about(record).items())
        return shown(without_queries(super().formatMessage(record) + about))

    def formatException(self, ei: Any) -> str:
        return shown_lines(without_queries(super().formatException(ei)))


class _Json(logging.Formatter):
    """One JSON object a line. A stack is the field `stack`, with the line breaks escaped."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": without_queries(record.getMessage()),
            **_about(record),
        }
        if record.exc_info:
            line["stack"] = without_queries(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=True)
