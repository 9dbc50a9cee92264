"""The threads of a search application: large photos that wait for memory delay no other photo."""

from __future__ import annotations

import asyncio
import threading

from workers.search.http.threads import Threads


def test_other_photos_pass_while_large_ones_wait() -> None:
    free, began = threading.Event(), []

    def wait(number: int) -> int:
        began.append(number)
        free.wait()
        return number

    async def ask() -> None:
        threads = Threads(decode_threads=2, read_threads=1, fetch_threads=1, answer_timeout_s=60, max_requests=8)
        large = [asyncio.ensure_future(threads.decode(lambda n=n: wait(n), large=True)) for n in range(8)]
        try:
            for n in range(20):
                assert await threads.decode(lambda n=n: n) == n
            while not began:
                await asyncio.sleep(0.01)
            assert began == [0]
            assert not any(one.done() for one in large)
        finally:
            free.set()
        assert await asyncio.gather(*large) == list(range(8))
        threads.close()

    asyncio.run(ask())
