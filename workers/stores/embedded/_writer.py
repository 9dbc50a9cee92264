"""Group commit: the writes of many threads share one transaction and therefore one sync to the disk."""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from workers.sqlite import connect, transaction, transient

_T = TypeVar("_T")
_Job = tuple[Callable[[sqlite3.Connection], Any], "Future[Any]"]
_BATCH_JOBS = 64  # one transaction holds the file's write lock for about 10 ms at most
# Callers block, so the queue holds at most one job for each thread. This limit only guards against a mistake.
_QUEUE_JOBS = 1024


class GroupWriter:
    """A thread that runs jobs in shared transactions. `run` blocks until the transaction of its job is on the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = connect(path, "FULL")
        self._jobs: queue.Queue[_Job | None] = queue.Queue(_QUEUE_JOBS)
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._loop, name="store-writer", daemon=True)
        self._thread.start()

    def run(self, job: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run a job durably and return its result. Raises what the job raised, or Transient if nothing was written."""
        future: Future[_T] = Future()
        with self._lock:
            if self._closed:
                raise ValueError("write after close")
            self._jobs.put((job, future))
        return future.result()

    def close(self) -> None:
        """Finish the queued jobs, and release all resources. Idempotent."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._jobs.put(None)
        self._thread.join()
        self._db.close()

    def _loop(self) -> None:
        ended = False
        while not ended:
            batch: list[_Job] = []
            item = self._jobs.get()
            while item is not None:
                batch.append(item)
                if len(batch) >= _BATCH_JOBS or self._jobs.empty():
                    break
                item = self._jobs.get()
            ended = item is None
            if batch:
                self._commit(batch)

    def _commit(self, batch: list[_Job]) -> None:
        """Run a batch in one transaction. If a job raises, only its own part is rolled back."""
        outcomes: list[tuple[Future[Any], Any, Exception | None]] = []
        try:
            with transient(self._path), transaction(self._db):
                for job, future in batch:
                    outcomes.append((future, *self._attempt(job)))
        except Exception as error:  # nothing of the batch is written; every caller gets the error
            outcomes = [(future, None, error) for _, future in batch]
        for future, result, failure in outcomes:
            if failure is None:
                future.set_result(result)
            else:
                future.set_exception(failure)

    def _attempt(self, job: Callable[[sqlite3.Connection], Any]) -> tuple[Any, Exception | None]:
        self._db.execute("SAVEPOINT job")
        try:
            result = job(self._db)
        except sqlite3.OperationalError:
            raise  # the file failed, not the job
        except Exception as error:  # the job's caller raises it
            self._db.execute("ROLLBACK TO job")
            return None, error
        finally:
            if self._db.in_transaction:
                self._db.execute("RELEASE job")
        return result, None
