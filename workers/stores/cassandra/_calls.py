"""Requests to Cassandra: at most so many under way, each with a deadline of ours, none that a callback waits in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from cassandra.cluster import Session  # type: ignore[import-untyped]

from schemas.errors import Transient
from workers.stores.cassandra._errors import DRIVER_ERRORS, meaning
from workers.stores.cassandra._settings import CassandraSettings

Row = tuple[Any, ...]
_GRACE_S = 1.0  # beyond the driver's own timer, which is asked to end a request first


class Calls:
    """Runs statements for all threads of a store."""

    def __init__(self, session: Session, settings: CassandraSettings) -> None:
        self._session = session
        self._settings = settings
        self._free = threading.BoundedSemaphore(settings.in_flight)

    def deadline(self) -> float:
        """For one call of the port that begins now; `time.monotonic()`."""
        return time.monotonic() + self._settings.timeout_s

    def run(self, statement: Any, deadline: float, doing: str) -> list[Row]:
        """Run one statement and return its rows. Raises ConfigError or Transient."""
        return self._result(self._start(statement, deadline, doing), deadline, doing)

    def run_all(self, statements: Iterable[Any], deadline: float, doing: str) -> list[list[Row]]:
        """Run statements side by side; their rows in the same order. Raises ConfigError or Transient."""
        futures = [self._start(statement, deadline, doing) for statement in statements]
        return [self._result(future, deadline, doing) for future in futures]

    def _start(self, statement: Any, deadline: float, doing: str) -> Future[list[Row]]:
        if not self._free.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise self._late(doing, "waiting for its turn")
        future: Future[list[Row]] = Future()
        try:
            response = self._session.execute_async(statement, timeout=max(0.01, deadline - time.monotonic()))
        except BaseException:
            self._free.release()
            raise
        response.add_callbacks(*self._settle(future))
        return future

    def _settle(self, future: Future[list[Row]]) -> tuple[Callable[[Any], None], Callable[[BaseException], None]]:
        """Callbacks for the driver's thread: neither waits for anything."""

        def done(rows: Any) -> None:
            self._free.release()
            future.set_result(list(rows or ()))

        def failed(error: BaseException) -> None:
            self._free.release()
            future.set_exception(error)

        return done, failed

    def _result(self, future: Future[list[Row]], deadline: float, doing: str) -> list[Row]:
        try:
            return future.result(max(0.0, deadline - time.monotonic()) + _GRACE_S)
        except FutureTimeout:
            raise self._late(doing, "waiting for its answer") from None
        except DRIVER_ERRORS as error:
            raise meaning(error, self._settings, doing) from error

    def _late(self, doing: str, where: str) -> Transient:
        text = f"{doing}: Cassandra at {self._settings.places}: {self._settings.timeout_s:g} s passed {where}"
        return Transient("store", "store_timeout", f"{text}; tried again later")
