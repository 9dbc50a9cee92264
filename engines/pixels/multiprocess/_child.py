"""The parent's side of one decode process."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection

from engines.pixels.multiprocess import _wire as wire

_log = logging.getLogger(__name__)
# The child ignores signals before it imports anything: the parent drains and then closes the connection.
_START = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "import sys; from engines.pixels.multiprocess.decode_process import serve; "
    "serve(int(sys.argv[1]), int(sys.argv[2]))"
)
_START_TRIES = 3  # one that is killed while it starts does not prove that none can start
_END_S = 5.0  # after its connection closes it ends, at the latest after the photos in hand


class Died(Exception):
    """The process ended before it answered."""


class Child:
    """A decode process, started at its first work and again after each death. One thread at a time."""

    def __init__(self, setup: wire.Setup, memory_fd: int) -> None:
        self._setup = setup
        self._memory_fd = memory_fd
        self._running: tuple[subprocess.Popen[bytes], Connection] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None while there is no process."""
        return self._running[0].pid if self._running else None

    def ask(self, photos: Sequence[bytes], slots: Sequence[int]) -> wire.Answer:
        """Decode photos into slots, and return an answer for each.

        Raises:
            Died: the process ended before it answered.
            RuntimeError: no process can be started.
        """
        process, connection = self._running = self._running or self._ready()
        try:
            connection.send_bytes(wire.encode(wire.Work(list(photos), list(slots))))
            return wire.decode_answer(connection.recv_bytes())
        except (EOFError, ConnectionError):
            _log.warning("decode process %d ended with %d photos in hand: %s", process.pid, len(photos), self.close())
            raise Died from None

    def close(self) -> int | None:
        """End the process, if there is one, and return its exit status, which is negative after a signal."""
        if self._running is None:
            return None
        (process, connection), self._running = self._running, None
        connection.close()
        try:
            return process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _ready(self) -> tuple[subprocess.Popen[bytes], Connection]:
        statuses = []
        for _ in range(_START_TRIES):
            process, connection = self._started()
            try:
                connection.send_bytes(wire.encode(self._setup))
                connection.recv_bytes()
                return process, connection
            except (EOFError, ConnectionError):
                connection.close()
                statuses.append(process.wait())
        raise RuntimeError(f"decode processes ended before they were ready, with status {statuses}")

    def _started(self) -> tuple[subprocess.Popen[bytes], Connection]:
        ours, theirs = socket.socketpair()
        with theirs:
            fds = (theirs.fileno(), self._memory_fd)
            process = subprocess.Popen(
                [sys.executable, "-c", _START, *map(str, fds)],
                stdin=subprocess.DEVNULL,
                pass_fds=fds,
                start_new_session=True,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # numpy would start one thread a core
            )
        return process, Connection(ours.detach())
