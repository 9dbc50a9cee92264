"""What the clients of Kafka and Cassandra log, brought down to what an operator can read.

In an outage kafka-python repeats itself many times a second and the Cassandra driver prints a traceback every few
seconds; at a rebalance the former prints kilobytes of member metadata.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable

_EVERY_S = 60.0  # the same message at most once in this time
_KNOWN = 200  # different messages that are remembered
_VARYING = re.compile(r"0x[0-9a-f]+|\d+|[0-9a-f]{8}-[0-9a-f-]{27}")  # addresses, numbers, ids of members


class QuietHandler(logging.Handler):
    """Passes records of a logger to the root logger's handlers: at WARNING at most, each message once a minute.

    Messages count as the same when they differ only by what is filled in, or by numbers. What was left out is counted
    in the next one that is passed on.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """`now` gives seconds."""
        super().__init__()
        self._now = now
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}  # when last passed on, how many left out since
        self._guard = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """Pass it on, or count it."""
        root = logging.getLogger()
        left_out = self._left_out(record)
        if left_out is None or not root.handlers:  # without any, Python would print it: a command line does not want it
            return
        told = logging.makeLogRecord(record.__dict__)
        told.exc_info, told.exc_text, told.stack_info = None, None, None  # of a client's inner parts
        if record.levelno > logging.WARNING:  # what comes of it, our own errors say
            told.levelno, told.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        if left_out:
            told.msg, told.args = f"{record.getMessage()} ({left_out} like it left out since the last)", ()
        if root.isEnabledFor(told.levelno):
            root.handle(told)

    def _left_out(self, record: logging.LogRecord) -> int | None:
        """How many like it were left out since the last one; None: leave this out, too."""
        key = record.name, _VARYING.sub("#", str(record.msg))
        now = self._now()
        with self._guard:
            last, count = self._seen.pop(key, (-_EVERY_S, 0))
            again = now - last >= _EVERY_S
            self._seen[key] = (now, 0) if again else (last, count + 1)
            if len(self._seen) > _KNOWN:
                del self._seen[next(iter(self._seen))]  # the one that has been silent longest
        return count if again else None


def quieten(logger: logging.Logger) -> None:
    """Let a logger and those below it speak through one `QuietHandler`, from WARNING on unless a level is set."""
    if not any(isinstance(handler, QuietHandler) for handler in logger.handlers):
        logger.addHandler(QuietHandler())
        logger.propagate = False
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.WARNING)
