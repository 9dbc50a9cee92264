"""Which events were in hand when the process died: a crash counts as an attempt.

An append-only file a worker: `+key` before an event is touched, `-key` when all of its effects are durable. A kill -9
keeps what was written (only a power failure would not, and then the attempt is simply not counted), so at the next
start the keys without `-` are the suspects, with the number of lives that ended while they were in hand.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections import Counter
from pathlib import Path

from schemas.errors import ConfigError
from workers.streams.base import Record

_MAX_BYTES = 4_000_000  # then the file is written anew with what is still open
_MAX_SLOTS = 256  # taggers that share one home


def record_key(record: Record) -> str:
    """The identity of a record in the log."""
    return f"{record.partition.topic}/{record.partition.number}/{record.offset}"


class Journal:
    """The attempts of one worker, in the first file of the folder that no other process has locked. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._fd, self._path = _claim(folder)
        self._attempts = _crashes(self._path.read_text(encoding="utf-8"))
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.closed = False
        self._rewrite()

    def attempts(self, record: Record) -> int:
        """How many lives of this worker ended with this record in hand; above 0 it is a suspect and runs alone."""
        return self._attempts[record_key(record)]

    def crashes(self) -> dict[str, int]:
        """Every suspect by its key, with the lives that ended while it was in hand."""
        return dict(self._attempts)

    def start(self, *records: Record) -> None:
        """Write down that these records are about to be touched."""
        keys = [record_key(record) for record in records]
        with self._lock:
            self._open.update(keys)
            self._append("".join(f"+{key}\n" for key in keys))

    def finish(self, *records: Record) -> None:
        """Their effects are durable, or they were handed back."""
        keys = [record_key(record) for record in records]
        with self._lock:
            for key in keys:
                self._open.pop(key, None)
                self._attempts.pop(key, None)
            self._append("".join(f"-{key}\n" for key in keys))
            if not self.closed and os.fstat(self._fd).st_size > _MAX_BYTES:
                self._rewrite()

    def hand_back(self) -> None:
        """This life ends for a reason that no record is to blame for: what is in hand does not count as a crash."""
        with self._lock:
            self._open.clear()
            self._rewrite()

    def close(self) -> None:
        """Release the file. What finishes after that is not written down: it comes again, and changes nothing."""
        with self._lock:
            self.closed = True
            os.close(self._fd)

    def _append(self, line: str) -> None:
        if not self.closed:
            os.write(self._fd, line.encode())

    def _rewrite(self) -> None:
        """Shrink to what matters. A crash in here forgets attempts at worst, never an event."""
        lines = [f"+{key}\n" * count for key, count in (self._attempts + self._open).items()]
        os.ftruncate(self._fd, 0)
        self._append("".join(lines))


def _claim(folder: Path) -> tuple[int, Path]:
    for slot in range(_MAX_SLOTS):
        path = folder / f"attempts-{slot}.log"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            continue
        return fd, path
    raise ConfigError(f"{folder}: {_MAX_SLOTS} taggers share this home already; give this one a home of its own")


def _crashes(text: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for line in text.splitlines():
        if line.startswith("+"):
            found[line[1:]] += 1
        elif line.startswith("-"):
            found.pop(line[1:], None)
    return found
