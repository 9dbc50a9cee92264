"""One thread that writes to the file of kept searches, so that a slow disk slows no search."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

from schemas.errors import Reject

T = TypeVar("T")


class Writer:
    """A thread with a queue that is bounded in bytes. Thread-safe."""

    def __init__(self, most_bytes: int) -> None:
        """`most_bytes`: what waits or is being written holds at most so many bytes together."""
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="search-keep")
        self._most, self._bytes, self._lock = most_bytes, 0, Lock()

    def offer(self, work: Callable[[], T], size: int) -> Future[T]:
        """Queue work that holds `size` bytes until it has ended or was cancelled.

        Raises:
            Reject: the queue is full, or the service is stopping.
        """
        with self._lock:
            if self._bytes + size > self._most:
                raise Reject(f"{self._bytes:,} bytes wait to be kept already; try again in a second")
            self._bytes += size
        try:
            future = self._threads.submit(work)
        except RuntimeError:
            self._free(size)
            raise Reject("the search service is stopping; ask again") from None
        future.add_done_callback(lambda _: self._free(size))
        return future

    def close(self) -> None:
        """Cancel what waits, and wait for what is being written. Idempotent."""
        self._threads.shutdown(cancel_futures=True)

    def _free(self, size: int) -> None:
        with self._lock:
            self._bytes -= size
