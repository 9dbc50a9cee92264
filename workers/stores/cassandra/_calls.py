"""Sends requests to Cassandra. Their number under way is limited, each has a deadline, and no callback blocks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from cassandra.cluster import Session  # type: ignore[import-untyped]

from schemas.errors import Transient
from workers.stores.cassandra._errors import DRIVER_ERRORS, meaning
from workers.stores.cassandra._settings import CassandraSettings

Row = tuple[Any, ...]
_GRACE_S = 1.0  # how much longer than the driver's own timer we wait; the driver should end a request first


class _Group:
    """Requests that one thread waits for together. The last answer wakes the thread."""

    __slots__ = ("_left", "_lock", "ended")

    def __init__(self, count: int) -> None:
        self._left = count
        self._lock = threading.Lock()
        self.ended = threading.Lock()  # a bare lock: it is taken once, and the last answer releases it
        self.ended.acquire()

    def one(self) -> None:
        with self._lock:
            self._left -= 1
            last = not self._left
        if last:
            self.ended.release()


class _Request:
    """One request under way. The driver's thread calls each method once. No method blocks."""

    __slots__ = ("_free", "_group", "ended", "error", "future", "rows")

    def __init__(self, free: threading.Semaphore, group: _Group) -> None:
        self._free = free
        self._group = group
        self.ended = False
        self.rows: list[Row] = []
        self.error: BaseException | None = None
        self.future: Any = None  # the driver's

    def done(self, rows: Any) -> None:
        self.rows = list(rows) if rows else []
        self._end()

    def failed(self, error: BaseException) -> None:
        self.error = error
        self._end()

    def forget(self) -> None:
        """Release the future of an ended request. The future and its cancelled timer refer to each other and to all
        that was sent. Only the cyclic garbage collector would free them: 36 objects and 55 µs for each event of a
        tagger."""
        self.future._timer = None  # the driver offers no other way
        self.future = None

    def _end(self) -> None:
        self.ended = True
        self._free.release()
        self._group.one()


class Calls:
    """Runs statements for all threads of a store."""

    def __init__(self, session: Session, settings: CassandraSettings) -> None:
        self._session = session
        self._settings = settings
        self._free = threading.Semaphore(settings.in_flight)

    def deadline(self) -> float:
        """The deadline of a call of `Store` that begins now, as `time.monotonic()` in seconds."""
        return time.monotonic() + self._settings.timeout_s

    def run(self, statement: Any, deadline: float, doing: str) -> list[Row]:
        """Run one statement and return its rows. `deadline` is what `deadline()` returned, in seconds. Raises
        ConfigError or Transient."""
        return self.run_all([statement], deadline, doing)[0]

    def run_all(self, statements: Iterable[Any], deadline: float, doing: str) -> list[list[Row]]:
        """Run statements concurrently, and return the rows of each in the same order. `deadline` is what `deadline()`
        returned, in seconds. Raises ConfigError or Transient."""
        found = []
        for outcome in self.outcomes(list(statements), deadline, doing):
            if isinstance(outcome, Transient):
                raise outcome
            found.append(outcome)
        return found

    def outcomes(self, statements: Sequence[Any], deadline: float, doing: str) -> list[list[Row] | Transient]:
        """Run statements concurrently. Returns, in the same order, the rows of each or its error. `deadline` is what
        `deadline()` returned, in seconds. Raises ConfigError."""
        group = _Group(len(statements))
        requests = [self._start(statement, group, deadline, doing) for statement in statements]
        if requests:
            group.ended.acquire(timeout=max(0.0, deadline - time.monotonic()) + _GRACE_S)
        return [self._outcome(request, doing) for request in requests]

    def _start(self, statement: Any, group: _Group, deadline: float, doing: str) -> _Request | Transient:
        if not self._free.acquire(blocking=False) and not self._free.acquire(
            timeout=max(0.0, deadline - time.monotonic())
        ):
            group.one()
            return self._late(doing, "waiting for its turn")
        request = _Request(self._free, group)
        try:
            response = self._session.execute_async(statement, timeout=max(0.01, deadline - time.monotonic()))
        except BaseException:
            self._free.release()
            raise
        request.future = response
        response.add_callbacks(request.done, request.failed)
        return request

    def _outcome(self, request: _Request | Transient, doing: str) -> list[Row] | Transient:
        if isinstance(request, Transient):
            return request
        if not request.ended:
            return self._late(doing, "waiting for its answer")
        request.forget()
        if request.error is None:
            return request.rows
        if not isinstance(request.error, DRIVER_ERRORS):
            raise request.error
        meant = meaning(request.error, self._settings, doing)
        meant.__cause__ = request.error
        if isinstance(meant, Transient):
            return meant
        raise meant

    def _late(self, doing: str, where: str) -> Transient:
        text = f"{doing}: Cassandra at {self._settings.places}: {self._settings.timeout_s:g} s passed {where}"
        return Transient("store", "store_timeout", f"{text}; it is tried again later")
