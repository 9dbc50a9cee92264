"""What every worker process has: a lock, an announcement, signal handlers, and an end when its supervisor is gone.

SIGTERM (or Ctrl-C) drains; a second one, or a drain that outlasts its budget, ends the process hard with the stacks
of all threads on stderr. A supervised worker leaves the second one to its supervisor, has a pipe from it on stdin and
reads its end there, so that it never outlives a supervisor that was killed.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from groknet.cli.plain_text import shown, shown_lines
from groknet.home.paths import Home
from groknet.home.running import Lock, Running, Worker, forget_running, write_running
from groknet.home.taggers import claim, tagger_name

SUPERVISED = "GROKNET_SUPERVISED"
"""Set by the supervisor in the environment of its workers: stdin is its pipe, Ctrl-C is its business."""
ORPHAN_GRACE_S = 5.0  # what is in hand finishes; anything longer would meet the next supervisor's workers
LOCK_PATIENCE_S = ORPHAN_GRACE_S + 5.0  # an orphan of a killed supervisor is gone by then
_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_CLIENTS = ("kafka", "cassandra", "urllib3", "uvicorn", "faiss")
"""Loggers of others: at INFO they say a line a connection, and a rebalance takes kilobytes."""


class _OneLine(logging.Formatter):
    """A message is one line, whatever a stranger wrote into it; only stacks have several."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return shown(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        return shown_lines(super().formatException(ei))


class Stopped(Exception):
    """The process was told to stop while it still waited to begin; `worker_process` ends it in order."""


@dataclass(frozen=True, slots=True)
class Process:
    """What a worker's main needs to know of its process; `stop` is set when it is to drain and return."""

    home: Home
    worker: Worker
    stop: threading.Event
    name: str
    """Of this instance: the worker's, but for a second tagger or an indexer that runs beside another one."""
    slot: int = 0
    """Which of its home's taggers this is, from 0."""

    def announce(self, host: str, port: int) -> None:
        """Tell the command line where this worker's HTTP answers."""
        write_running(self.home, self.name, Running(pid=os.getpid(), host=host, port=port))
        logging.getLogger("groknet").info("%s answers on http://%s:%d", self.name, host, port)


@contextmanager
def worker_process(
    home: Home, worker: Worker, drain_budget_s: float, name: str = "", *, slot: int | None = None
) -> Iterator[Process]:
    """Be `worker` of `home`, under a name of its own or the worker's; a tagger takes the name of its `slot`, else the
    first that is free. `Stopped` ends the block in order.

    Raises CommandError when another process has the name.
    """
    _set_up_logging()
    supervised = bool(os.environ.get(SUPERVISED))
    stop = threading.Event()
    _install_signals(stop, drain_budget_s, supervised)
    if supervised:
        threading.Thread(target=_watch_supervisor, args=(stop,), name="supervisor-watch", daemon=True).start()
    patience_s = LOCK_PATIENCE_S if supervised else 0.0
    if worker == "tagger":
        slot, lock = claim(home, slot, patience_s)
        name = tagger_name(slot)
    else:
        name = name or worker
        lock = Lock(home, name, patience_s)
    try:
        yield Process(home, worker, stop, name, slot or 0)
    except Stopped:
        logging.getLogger("groknet").info("%s stops before it has begun", name)
    finally:
        forget_running(home, name)
        lock.release()


def _set_up_logging() -> None:
    """What a worker says goes to stderr: our own lines from INFO, what clients and servers say from WARNING."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine(_LOG_FORMAT))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for client in _CLIENTS:
        logging.getLogger(client).setLevel(logging.WARNING)


def _install_signals(stop: threading.Event, drain_budget_s: float, supervised: bool) -> None:
    def on_signal(_: int, __: FrameType | None) -> None:
        if stop.is_set():
            if supervised:  # what is sent to the whole process group comes once more from the supervisor
                return
            _end_hard()
        stop.set()
        _end_hard_after(drain_budget_s)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, signal.SIG_IGN if supervised else on_signal)


def _watch_supervisor(stop: threading.Event) -> None:
    """Block until the supervisor's end of stdin closes: it has ended, in whatever way."""
    while os.read(0, 1):
        pass
    stop.set()
    _end_hard_after(ORPHAN_GRACE_S)


def _end_hard_after(seconds: float) -> None:
    timer = threading.Timer(seconds, _end_hard)
    timer.daemon = True
    timer.start()


def _end_hard() -> None:
    """End now; at least once makes it safe, and the stacks say what did not finish."""
    faulthandler.dump_traceback(sys.stderr, all_threads=True)
    os._exit(1)
