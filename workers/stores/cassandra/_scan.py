"""Reads whole tables by token ranges, which is how Cassandra keeps their rows, and returns every id in order."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from types import TracebackType
from typing import IO, Any

FIRST_TOKEN, LAST_TOKEN = -(2**63), 2**63 - 1  # of the Murmur3 partitioner; no key has the first one
_RANGES = 64  # the ring is read in this many ranges
_READ_IDS = 2000
_RUN_IDS = 200_000  # ids that are sorted in memory at once; about 20 MB

ReadIds = Callable[[int, int, int], list[tuple[str, int]]]


def ranges(read: Callable[[int, int], list[Any]], count: int) -> Iterator[list[Any]]:
    """All rows of a table. `read(token, last)` returns at most `count` rows with tokens in (token, last], in order of
    token, which is the last value of a row. Each row is a partition of its own."""
    width = 2**64 // _RANGES
    for start in range(FIRST_TOKEN, LAST_TOKEN, width):
        token, last = start, min(start + width, LAST_TOKEN)
        while True:
            found = read(token, last)
            yield found
            if len(found) < count:
                break
            token = found[-1][-1]


class SortedIds:
    """All ids, sorted, in bounded memory. `read(token, last, count)` returns ids with tokens in (token, last], in order
    of token.

    A context manager. If the ids do not fit in one sorted run, the runs are written to temporary files.
    """

    def __init__(self, read: ReadIds, run_ids: int = _RUN_IDS) -> None:
        self._run_ids = run_ids
        self._files: list[IO[str]] = []
        self._run: list[str] = []
        self._read = read

    def __enter__(self) -> SortedIds:
        """Read all ids. Raises what `read` raises."""
        try:
            for ids in self._all():
                self._run += ids
                if len(self._run) >= self._run_ids:
                    self._spill()
        except BaseException:
            self._close()
            raise
        self._run.sort()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the temporary files."""
        self._close()

    def pages(self, size: int) -> Iterator[list[str]]:
        """Yield the ids in order, `size` at a time, each id once."""
        files: list[Iterator[str]] = [(line[:-1] for line in file) for file in self._files]
        merged = iter(heapq.merge(*files, self._run))
        while page := list(islice(merged, size)):
            yield page

    def _all(self) -> Iterator[list[str]]:
        for found in ranges(lambda token, last: self._read(token, last, _READ_IDS), _READ_IDS):
            yield [listing_id for listing_id, _ in found]

    def _spill(self) -> None:
        self._run.sort()
        file = tempfile.TemporaryFile("w+", encoding="utf-8", prefix="groknet-scan-")  # noqa: SIM115
        self._files.append(file)
        file.writelines(f"{listing_id}\n" for listing_id in self._run)
        file.seek(0)
        self._run = []

    def _close(self) -> None:
        for file in self._files:
            file.close()
        self._files, self._run = [], []
