"""The threads of one search application, and the time limit of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from schemas.errors import Reject
from workers.http.problems import Problem
from workers.search.http.slots import Slots

T = TypeVar("T")


class Threads:
    """Runs blocking work outside the event loop. One pool decodes photos, one waits for the store or the index,
    and one fetches photos of listings, so that a slow photo host delays nothing else. Large photos have a thread of
    their own: they wait for memory, and other photos must not wait behind them."""

    def __init__(
        self,
        *,
        decode_threads: int,
        read_threads: int,
        fetch_threads: int,
        answer_timeout_s: float,
        max_requests: int,
    ) -> None:
        """`max_requests`: requests that are worked on at once, whose bodies are there."""
        self._decoders = ThreadPoolExecutor(decode_threads, thread_name_prefix="search-decode")
        self._large = ThreadPoolExecutor(1, thread_name_prefix="search-decode-large")
        self._readers = ThreadPoolExecutor(read_threads, thread_name_prefix="search-read")
        self._fetchers = ThreadPoolExecutor(fetch_threads, thread_name_prefix="search-fetch")
        self._answer_timeout_s = answer_timeout_s
        self._requests = Slots(max_requests, max_requests, "requests are under way already")

    def close(self) -> None:
        """End the threads. Idempotent."""
        self._decoders.shutdown(cancel_futures=True)
        self._large.shutdown(cancel_futures=True)
        self._readers.shutdown(cancel_futures=True)
        self._fetchers.shutdown(cancel_futures=True)

    async def decode(self, work: Callable[[], T], *, large: bool = False) -> T:
        """Run work that needs a processor, of a `large` photo or of another. Raises Reject when the service is
        stopping, and what `work` raises."""
        return await _run(self._large if large else self._decoders, work)

    async def read(self, work: Callable[[], T]) -> T:
        """Run work that waits for the store or the index. Raises Reject when the service is stopping, and what `work`
        raises."""
        return await _run(self._readers, work)

    async def fetch(self, work: Callable[[], T]) -> T:
        """Run work that waits for a photo host. Raises Reject when the service is stopping, and what `work` raises."""
        return await _run(self._fetchers, work)

    @asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """Count a request while the block runs, and bound its time by `answer_timeout_s`. Raises Problem 503 when it
        takes longer, or when too many requests are under way."""
        try:
            with self._requests.held(""):
                async with asyncio.timeout(self._answer_timeout_s):
                    yield
        except TimeoutError:
            detail = f"no answer within {self._answer_timeout_s:g} s; ask again in a moment"
            raise Problem(503, "too-slow", detail, retry_after_s=2) from None


async def _run(threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
    try:
        return await asyncio.get_running_loop().run_in_executor(threads, work)
    except RuntimeError as error:
        if "shutdown" in str(error):
            raise Reject("the search service is stopping; ask again") from None
        raise
