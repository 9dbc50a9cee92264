"""Snapshots of the index. `HOME/index/<epoch>.snapshot` has the offsets that the index has reached, its new codes, and
the names of the files of its sealed parts. It appears whole or not at all. Losing the live strip does no harm."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from engines.files import write_file
from engines.similarity import HashIndex, IndexLimits, SnapshotRefused
from schemas.errors import EpochMismatch
from workers.indexer.recent import Recent

_log = logging.getLogger(__name__)


class Snapshots:
    """The snapshot of one epoch's index."""

    def __init__(self, home: Path, epoch: str, *, max_age_s: float, limits: IndexLimits) -> None:
        self._path = home / "index" / f"{epoch}.snapshot"
        self._strip = home / "index" / f"{epoch}.recent.json"
        self._epoch = epoch
        self._max_age_s = max_age_s
        self._limits = limits

    def empty(self) -> HashIndex:
        """An empty index."""
        return HashIndex(self._epoch, self._limits)

    def load(self) -> tuple[HashIndex, dict[int, int]] | None:
        """The index, and its next offset by partition number.

        None if there is no snapshot, if it is too old, or if it cannot be used. Then read the topic from its beginning;
        it has all data.
        """
        try:
            age_s = time.time() - self._path.stat().st_mtime
            if age_s > self._max_age_s:
                _log.warning("%s is %.0f h old: the topic is read from its beginning", self._path, age_s / 3600)
                return None
            index, offsets = HashIndex.restore(self._path, self._epoch, self._limits)
            return index, {int(number): offset for number, offset in offsets.items()}
        except FileNotFoundError:
            return None
        except (SnapshotRefused, EpochMismatch, ValueError, OSError) as error:
            _log.warning("the topic is read from its beginning: %s", error)
            return None

    def save(self, index: HashIndex, offsets: Mapping[int, int], recent: list[Recent]) -> None:
        """Replace the snapshot durably. Raises OSError, for example if the disk is full; the previous one then
        stays."""
        self.gathered(index, offsets, recent)()

    def gathered(self, index: HashIndex, offsets: Mapping[int, int], recent: list[Recent]) -> Callable[[], None]:
        """Collect what `save` would write now, and return a function that writes it. Another thread may call it."""
        write = index.gathered({str(number): offset for number, offset in offsets.items()})
        strip = msgspec.json.encode(recent)

        def save() -> None:
            write(self._path)
            write_file(self._strip, strip)

        return save

    def recent(self) -> list[Recent]:
        """The live strip of the last snapshot, the newest first; empty if it cannot be read."""
        try:
            return msgspec.json.decode(self._strip.read_bytes(), type=list[Recent])
        except (OSError, msgspec.DecodeError):
            return []
