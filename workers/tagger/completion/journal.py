"""Records which events were in hand when the process died, because a crash counts as an attempt.

Each worker appends to a file: `+key` before an event is touched, `-key` when all of its effects are durable. A kill -9
does not lose what was written. A power failure may; the attempt is then not counted. At the next start the keys without
`-` are the suspects, each with the number of processes that died while it was in hand.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections import Counter
from pathlib import Path

from schemas.errors import ConfigError
from workers.streams.base import Record

_MAX_BYTES = 4_000_000  # a larger file is rewritten with the open keys only
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MAX_SLOTS = 256  # taggers that share one home


def record_key(record: Record) -> str:
    """The key of a record: its topic, partition and offset."""
    return f"{record.partition.topic}/{record.partition.number}/{record.offset}"


class Journal:
    """The attempts of one worker, in the first file of the folder that no other process holds locked. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._fd, self._path = _claim(folder)
        self._attempts = _crashes(self._path.read_text(encoding="utf-8"))
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.closed = False
        self._incomplete = False
        """Whether lines are missing, because the disk was full."""
        self._rewrite()

    def attempts(self, record: Record) -> int:
        """How many processes died with this record in hand. If any did, the record is a suspect and runs alone."""
        return self._attempts[record_key(record)]

    def crashes(self) -> dict[str, int]:
        """The suspects by key, each with the number of processes that died while it was in hand."""
        return dict(self._attempts)

    def start(self, *records: Record) -> None:
        """Note that these records are about to be touched."""
        keys = [record_key(record) for record in records]
        with self._lock:
            self._open.update(keys)
            self._append("".join(f"+{key}\n" for key in keys))

    def finish(self, *records: Record) -> None:
        """Note that the effects of these records are durable, or that the records were handed back."""
        keys = [record_key(record) for record in records]
        with self._lock:
            for key in keys:
                self._open.pop(key, None)
                self._attempts.pop(key, None)
            self._append("".join(f"-{key}\n" for key in keys))
            if not self.closed and os.fstat(self._fd).st_size > _MAX_BYTES:
                self._rewrite()

    def hand_back(self) -> None:
        """The process ends for a reason that no record caused, so what is in hand must not count as a crash."""
        with self._lock:
            self._open.clear()
            self._rewrite()

    def close(self) -> None:
        """Close the file. A record that finishes later is not noted: it is processed again, which changes nothing."""
        with self._lock:
            self.closed = True
            os.close(self._fd)

    def _append(self, line: str) -> None:
        """Write a line. On a full disk it is left out, and the whole is written again when there is room: a crash in
        between is not counted, which is better than an end of the tagger."""
        if self.closed:
            return
        try:
            if self._incomplete:
                self._incomplete = False
                self._rewrite()
            else:
                _write_all(self._fd, line.encode())
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self._incomplete = True

    def _rewrite(self) -> None:
        """Rewrite the file with the open keys only. A crash here may lose attempts, but never an event."""
        lines = [f"+{key}\n" * count for key, count in (self._attempts + self._open).items()]
        os.ftruncate(self._fd, 0)
        try:
            _write_all(self._fd, "".join(lines).encode())
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            self._incomplete = True


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


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
    raise ConfigError(f"{folder}: {_MAX_SLOTS} taggers already share this home; give this tagger another home")


def _crashes(text: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for line in text.splitlines():
        if line.startswith("+"):
            found[line[1:]] += 1
        elif line.startswith("-"):
            found.pop(line[1:], None)
    return found
