"""Requests to Cassandra: at most so many under way, each with a deadline of ours, none that a callback waits in."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

from cassandra.cluster import Session  # type: ignore[import-untyped]

from schemas.errors import Transient
from workers.stores.cassandra._errors import DRIVER_ERRORS, meaning
from workers.stores.cassandra._settings import CassandraSettings

Row = tuple[Any, ...]
_GRACE_S = 1.0  # beyond the driver's own timer, which is asked to end a request first


class _Request:
    """One request under way. Its methods are called by the driver's thread, once, and wait for nothing.

    A bare lock, since three futures a listing cost more than all else that this room does.
    """

    __slots__ = ("_free", "ended", "error", "rows")

    def __init__(self, free: threading.Semaphore) -> None:
        self._free = free
        self.ended = threading.Lock()
        self.ended.acquire()
        self.rows: list[Row] = []
        self.error: BaseException | None = None

    def done(self, rows: Any) -> None:
        self.rows = list(rows or ())
        self._end()

    def failed(self, error: BaseException) -> None:
        self.error = error
        self._end()

    def _end(self) -> None:
        self._free.release()
        self.ended.release()


class Calls:
    """Runs statements for all threads of a store."""

    def __init__(self, session: Session, settings: CassandraSettings) -> None:
        self._session = session
        self._settings = settings
        self._free = threading.Semaphore(settings.in_flight)

    def deadline(self) -> float:
        """For one call of the port that begins now; `time.monotonic()`."""
        return time.monotonic() + self._settings.timeout_s

    def run(self, statement: Any, deadline: float, doing: str) -> list[Row]:
        """Run one statement and return its rows. Raises ConfigError or Transient."""
        return self._result(self._start(statement, deadline, doing), deadline, doing)

    def run_all(self, statements: Iterable[Any], deadline: float, doing: str) -> list[list[Row]]:
        """Run statements side by side; their rows in the same order. Raises ConfigError or Transient."""
        requests = [self._start(statement, deadline, doing) for statement in statements]
        return [self._result(request, deadline, doing) for request in requests]

    def _start(self, statement: Any, deadline: float, doing: str) -> _Request:
        if not self._free.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise self._late(doing, "waiting for its turn")
        request = _Request(self._free)
        try:
            response = self._session.execute_async(statement, timeout=max(0.01, deadline - time.monotonic()))
        except BaseException:
            self._free.release()
            raise
        response.add_callbacks(request.done, request.failed)
        return request

    def _result(self, request: _Request, deadline: float, doing: str) -> list[Row]:
        if not request.ended.acquire(timeout=max(0.0, deadline - time.monotonic()) + _GRACE_S):
            raise self._late(doing, "waiting for its answer")
        if request.error is None:
            return request.rows
        if isinstance(request.error, DRIVER_ERRORS):
            raise meaning(request.error, self._settings, doing) from request.error
        raise request.error

    def _late(self, doing: str, where: str) -> Transient:
        text = f"{doing}: Cassandra at {self._settings.places}: {self._settings.timeout_s:g} s passed {where}"
        return Transient("store", "store_timeout", f"{text}; tried again later")
