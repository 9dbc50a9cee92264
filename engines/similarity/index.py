"""The live index: one writer at a time, readers that never wait."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from engines.similarity._snapshot import Contents, read_snapshot, write_snapshot
from engines.similarity._view import ALIVE, Codes, Owner, View, seal
from engines.similarity.types import CODE_BYTES, IndexedListing, IndexStats, Neighbour
from schemas.errors import ConfigError, EpochMismatch
from schemas.hashes import HashMessage

_Scalar = TypeVar("_Scalar", bound=np.generic)
_MAX_GENERATION = int(ALIVE) - 1  # `died` is 32 bits wide: 4 bytes a code; a compaction starts it again


@dataclass(frozen=True, slots=True)
class _Listing:
    event_time: int
    model_version: str
    state: str
    category: str | None
    rows: tuple[int, ...]


class HashIndex:
    """Codes of one epoch under (listing, image), exact.

    Every method may be called from any thread. Changes, and `get`, queue for one lock; `search`, `stats` and `len` take
    none, each sees one consistent state, and a change is visible to every search that starts after it returned.

    A new code goes to a small part that grows (searched by plain arithmetic); when that holds `max_pending` codes it
    is merged into the sealed FAISS part, which copies 32 bytes a code. FAISS has no cheap removal, so a dead code
    stays, passed over by searches, until `max_tombstones` of them are compacted away, which renumbers all codes.
    """

    def __init__(
        self,
        epoch: str,
        *,
        threads: int = 1,
        max_pending: int = 8192,
        max_tombstones: int = 100_000,
        max_removed: int = 1_000_000,
    ) -> None:
        """An empty index.

        Args:
            epoch: whose hashes it holds; all others are refused.
            threads: of FAISS for one search. It shares out the hashes of a search, so that one hash gains nothing
                from a second thread, and on busy cores waits for it (p99 of 1 million codes: 6 ms with 1, 200 with 2).
            max_pending: codes in the growing part: 8192 cost a search about 0.1 ms.
            max_tombstones: dead codes before a compaction; it also runs once a quarter of all codes are dead.
            max_removed: listings whose removal is remembered, so that an older event cannot bring them back
                (about 150 bytes each); beyond, the removals of the oldest event times are forgotten.

        Raises:
            ConfigError: a number is below 1, or FAISS is not installed.
        """
        limits = {"threads": threads, "max_pending": max_pending, "max_tombstones": max_tombstones}
        for name, value in (limits | {"max_removed": max_removed}).items():
            if value < 1:
                raise ConfigError(f"{name}: {value} is below 1")
        try:
            import faiss
        except ModuleNotFoundError:
            raise ConfigError("index: faiss is not installed; pip install 'groknet[cpu]'") from None
        self._set_threads = faiss.omp_set_num_threads
        self._epoch = epoch
        self._threads = threads
        self._max_pending = max_pending
        self._max_tombstones = max_tombstones
        self._max_removed = max_removed
        self._lock = threading.Lock()
        self._listings: dict[str, _Listing] = {}
        self._removed: dict[str, int] = {}
        self._view = self._fresh_view(np.empty((0, CODE_BYTES), np.uint8), [])

    @property
    def epoch(self) -> str:
        return self._epoch

    def __len__(self) -> int:
        """Codes that a search can find."""
        return self.stats().vectors

    def stats(self) -> IndexStats:
        """Sizes, for metrics."""
        view = self._view
        pending, vectors = view.count - view.base, view.count - view.dead
        return IndexStats(vectors, len(self._listings), view.dead, pending, len(self._removed))

    def require_epoch(self, epoch: str) -> None:
        """Raise EpochMismatch unless it is the index's own."""
        if epoch != self._epoch:
            raise EpochMismatch(f"epoch: {epoch} offered to an index of {self._epoch}; use the bundle of that epoch")

    def apply(self, message: HashMessage) -> bool:
        """Let a listing's hashes replace whatever the index holds of it.

        Returns:
            False when the message is older than what the index has, or not newer than the listing's removal (at one
            event time a removal wins); then nothing changes. Equal times: the message applied last wins.

        Raises:
            EpochMismatch: a message of another epoch.
        """
        self.require_epoch(message.epoch)
        codes = np.frombuffer(bytes.fromhex("".join(image.hash for image in message.images)), np.uint8)
        codes = codes.reshape(-1, CODE_BYTES)
        owners = [(message.listing_id, image.image_id) for image in message.images]
        with self._lock:
            held = self._listings.get(message.listing_id)
            if message.event_time <= self._removed.get(message.listing_id, 0):
                return False
            if held is not None and message.event_time < held.event_time:
                return False
            if held is not None and self._same(held, owners, codes):  # a replay must not leave tombstones
                rows = held.rows
            else:
                rows = self._replace(held.rows if held else (), owners, codes)
            self._listings[message.listing_id] = _Listing(
                message.event_time, message.model_version, message.state, message.category, rows
            )
            self._removed.pop(message.listing_id, None)
            self._tidy()
        return True

    def remove(self, listing_id: str, event_time: int) -> bool:
        """Take a listing out and remember that it was removed at `event_time` (UTC microseconds), known or not.

        Returns:
            False when the index has something newer; then nothing changes.
        """
        with self._lock:
            held = self._listings.get(listing_id)
            if event_time < (held.event_time if held else self._removed.get(listing_id, 0)):
                return False
            if held is not None:
                self._replace(held.rows, [], np.empty((0, CODE_BYTES), np.uint8))
                del self._listings[listing_id]
            self._removed[listing_id] = event_time
            if len(self._removed) > self._max_removed:
                self._forget_oldest()
            self._tidy()
        return True

    def get(self, listing_id: str) -> IndexedListing | None:
        """What the index holds of a listing, or None."""
        with self._lock:
            held, view = self._listings.get(listing_id), self._view
        if held is None:
            return None
        images = {view.owners[row][1]: view.code(row) for row in held.rows}
        return IndexedListing(listing_id, held.event_time, held.model_version, held.state, held.category, images)

    def search(self, hashes: npt.NDArray[np.uint8], k: int, *, epoch: str) -> list[list[Neighbour]]:
        """The k nearest photos of each hash, nearest first, equal distances by listing id and image id.

        Args:
            hashes: uint8 [n, 32] of `epoch`.
            k: at least 1; fewer neighbours come back when the index holds fewer.
            epoch: of the hashes.

        Raises:
            EpochMismatch: the hashes are of another epoch than the index.
            ValueError: wrong dtype or shape, or k below 1.
        """
        self.require_epoch(epoch)
        if hashes.dtype != np.uint8 or hashes.ndim != 2 or hashes.shape[1] != CODE_BYTES:
            raise ValueError(f"hashes: {hashes.dtype} {list(hashes.shape)}, not uint8 [n, {CODE_BYTES}]")
        if k < 1:
            raise ValueError(f"k: {k} is below 1")
        self._set_threads(self._threads)  # OpenMP keeps the number for each calling thread
        return self._view.search(np.ascontiguousarray(hashes), k)

    def compact(self) -> None:
        """Drop all dead codes and merge the growing part now; searches go on meanwhile."""
        with self._lock:
            self._compact()

    def snapshot(self, path: Path, offsets: Mapping[str, int]) -> None:
        """Write the index and `offsets`, the next offset of each partition, into one file, atomically and durably.

        The offsets belong to what was applied before this call: call it from the thread that applies. Changes wait
        while the state is gathered, not while it is written.
        """
        with self._lock:
            view, listings, removed = self._view, dict(self._listings), dict(self._removed)
        rows = np.array([row for held in listings.values() for row in held.rows], np.int64)
        contents = Contents(
            epoch=self._epoch,
            offsets=dict(offsets),
            codes=view.codes()[rows],
            image_ids=[view.owners[row][1] for row in rows.tolist()],
            counts=[len(held.rows) for held in listings.values()],
            listing_ids=list(listings),
            event_times=[held.event_time for held in listings.values()],
            model_versions=[held.model_version for held in listings.values()],
            states=[held.state for held in listings.values()],
            categories=[held.category for held in listings.values()],
            removed=removed,
        )
        write_snapshot(Path(path), contents)

    @classmethod
    def restore(
        cls,
        path: Path,
        epoch: str,
        *,
        threads: int = 1,
        max_pending: int = 8192,
        max_tombstones: int = 100_000,
        max_removed: int = 1_000_000,
    ) -> tuple[HashIndex, dict[str, int]]:
        """The index of a snapshot and its offsets; the limits are those of the constructor.

        Raises:
            FileNotFoundError: there is no snapshot.
            EpochMismatch: it is of another epoch.
            SnapshotRefused: it is damaged or of another format; rebuild from the topic.
        """
        index = cls(
            epoch,
            threads=threads,
            max_pending=max_pending,
            max_tombstones=max_tombstones,
            max_removed=max_removed,
        )
        contents = read_snapshot(Path(path))
        index.require_epoch(contents.epoch)
        index._fill(contents)
        return index, contents.offsets

    def _fill(self, contents: Contents) -> None:
        owners: list[Owner] = []
        for i, listing_id in enumerate(contents.listing_ids):
            first = len(owners)
            owners.extend((listing_id, image) for image in contents.image_ids[first : first + contents.counts[i]])
            self._listings[listing_id] = _Listing(
                contents.event_times[i],
                contents.model_versions[i],
                contents.states[i],
                contents.categories[i],
                tuple(range(first, len(owners))),
            )
        self._removed = contents.removed
        self._view = self._fresh_view(contents.codes, owners)

    def _same(self, held: _Listing, owners: list[Owner], codes: Codes) -> bool:
        view = self._view
        return [view.owners[row] for row in held.rows] == owners and all(
            view.code(row) == bytes(code) for row, code in zip(held.rows, codes, strict=True)
        )

    def _replace(self, dead: tuple[int, ...], owners: list[Owner], codes: Codes) -> tuple[int, ...]:
        """Kill rows and add others in one step for readers; returns the new rows. The caller holds the lock."""
        view = self._view
        generation, count = view.generation + 1, view.count + len(owners)
        died, tail = _room(view.died, count), _room(view.tail, count - view.base)
        tail[view.count - view.base : count - view.base] = codes
        died[view.count : count] = ALIVE
        died[list(dead)] = generation
        view.owners.extend(owners)
        self._view = View(view.merged, tail, count, died, view.owners, generation, view.dead + len(dead))
        return tuple(range(view.count, count))

    def _tidy(self) -> None:
        """Merge or compact when a bound is passed. The caller holds the lock."""
        view = self._view
        pending = view.count - view.base
        too_dead = view.dead > self._max_tombstones or view.dead > max(self._max_pending, view.count // 4)
        if too_dead or view.generation >= _MAX_GENERATION:
            self._compact()
        elif pending > self._max_pending:
            merged = seal(view.codes())
            tail = np.empty((0, CODE_BYTES), np.uint8)
            self._view = View(merged, tail, view.count, view.died, view.owners, view.generation, view.dead)

    def _compact(self) -> None:
        """Renumber the living rows. The caller holds the lock."""
        view = self._view
        living = np.flatnonzero(view.died[: view.count] > view.generation)
        new_row = dict(zip(living.tolist(), range(len(living)), strict=True))
        self._listings = {
            listing_id: _Listing(
                held.event_time,
                held.model_version,
                held.state,
                held.category,
                tuple(new_row[row] for row in held.rows),
            )
            for listing_id, held in self._listings.items()
        }
        self._view = self._fresh_view(view.codes()[living], [view.owners[row] for row in living.tolist()])

    def _fresh_view(self, codes: Codes, owners: list[Owner]) -> View:
        died = np.full(len(owners), ALIVE, np.uint32)
        return View(seal(codes), np.empty((0, CODE_BYTES), np.uint8), len(owners), died, owners, 0, 0)

    def _forget_oldest(self) -> None:
        """Drop a tenth of the remembered removals, the oldest event times first."""
        kept = sorted(self._removed.items(), key=lambda item: item[1])[len(self._removed) // 10 + 1 :]
        self._removed = dict(kept)


def _room(array: npt.NDArray[_Scalar], rows: int) -> npt.NDArray[_Scalar]:
    """`array` if it has that many rows, else a copy with twice the room; readers keep the old one."""
    if rows <= len(array):
        return array
    grown = np.empty((max(rows, 2 * len(array), 1024), *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown
