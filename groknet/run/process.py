"""The process of a worker: it has a lock, an announcement and signal handlers, and ends when its supervisor ends.

SIGTERM (or Ctrl-C) starts the drain. A second signal, or a drain that takes longer than its budget, kills the process
and prints the stacks of all threads on stderr. A supervised worker ignores the second signal, because its supervisor
kills it. Its stdin is a pipe from the supervisor. The worker notices when the pipe closes, so it never outlives a
killed supervisor.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from groknet.home.config import Loaded
from groknet.home.paths import Home
from groknet.home.running import Lock, Running, Worker, forget_running, write_running
from groknet.home.taggers import claim, tagger_name
from groknet.run.log_lines import LogFormat, formatter
from workers import tracing

SUPERVISED = "GROKNET_SUPERVISED"
"""The supervisor sets this environment variable for its workers. It means that stdin is its pipe, and that it handles
Ctrl-C."""
ORPHAN_GRACE_S = 5.0  # events in hand can finish; after a longer time the next supervisor's workers would already run
LOCK_PATIENCE_S = ORPHAN_GRACE_S + 5.0  # a worker of a killed supervisor has ended by then
_CLIENTS = ("kafka", "cassandra", "urllib3", "uvicorn", "faiss")
"""Loggers of libraries. At INFO they write a line for each connection, and kilobytes for a rebalance."""


class Stopped(Exception):
    """The process was told to stop while it still waited to begin. `worker_process` then ends it cleanly."""


@dataclass(frozen=True, slots=True)
class Process:
    """What a worker's main function needs to know about its process. `stop` is set when it must drain and return."""

    home: Home
    worker: Worker
    stop: threading.Event
    name: str
    """The name of this instance. It is that of the worker, except for a second tagger or a further indexer."""
    slot: int = 0
    """The number of this tagger in its home, from 0."""

    def announce(self, host: str, port: int) -> None:
        """Announce to the commands where this worker answers HTTP."""
        write_running(self.home, self.name, Running(pid=os.getpid(), host=host, port=port))
        logging.getLogger("groknet").info("%s answers on http://%s:%d", self.name, host, port)


@contextmanager
def worker_process(
    loaded: Loaded, worker: Worker, drain_budget_s: float, name: str = "", *, slot: int | None = None
) -> Iterator[Process]:
    """Make this process the `worker` of a home, under `name` or the worker's own name. A tagger takes the name of its
    `slot`, or the first free one. `Stopped` ends the block cleanly.

    Raises:
        CommandError: another process has the name.
        ConfigError: tracing is switched on and cannot begin.
    """
    home = loaded.home
    _set_up_logging(loaded.config.log.format)
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
    end_traces: Callable[[], None] | None = None
    try:
        end_traces = tracing.begin(loaded.config.tracing, name)
        yield Process(home, worker, stop, name, slot or 0)
    except Stopped:
        logging.getLogger("groknet").info("%s stops before it has started", name)
    finally:
        if end_traces is not None:
            end_traces()
        forget_running(home, name)
        lock.release()


def _set_up_logging(form: LogFormat) -> None:
    """What a worker says goes to stderr: our own lines from INFO, what clients and servers say from WARNING."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(form))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for client in _CLIENTS:
        logging.getLogger(client).setLevel(logging.WARNING)


def _install_signals(stop: threading.Event, drain_budget_s: float, supervised: bool) -> None:
    def on_signal(_: int, __: FrameType | None) -> None:
        if stop.is_set():
            if supervised:  # a signal to the whole process group comes once more from the supervisor
                return
            _end_hard()
        stop.set()
        _end_hard_after(drain_budget_s)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, signal.SIG_IGN if supervised else on_signal)


def _watch_supervisor(stop: threading.Event) -> None:
    """Block until stdin closes, which means that the supervisor has ended."""
    while os.read(0, 1):
        pass
    stop.set()
    _end_hard_after(ORPHAN_GRACE_S)


def _end_hard_after(seconds: float) -> None:
    timer = threading.Timer(seconds, _end_hard)
    timer.daemon = True
    timer.start()


def _end_hard() -> None:
    """End the process now. At-least-once delivery makes that safe. The stacks show what did not finish."""
    faulthandler.dump_traceback(sys.stderr, all_threads=True)
    os._exit(1)
