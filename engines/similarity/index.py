"""The live index: one writer at a time, readers that never wait, and merges in the background."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engines.similarity._flat import BITS, require_gpu
from engines.similarity._listings import Listings
from engines.similarity._merge import Merge
from engines.similarity._parts import Sealed
from engines.similarity._snapshot import Contents, read_snapshot, write_snapshot
from engines.similarity.types import CODE_BYTES, IndexedListing, IndexLimits, IndexStats, Neighbour, Where
from schemas.errors import ConfigError, EpochMismatch
from schemas.hashes import HashMessage

_log = logging.getLogger(__name__)
_MAX_GENERATION = 2**31  # it has 32 bits; a merge of all parts restarts it
_MIDDLE = 8  # tails that the middle part takes before it is merged into the main part,
_MIDDLE_SHARE = 32  # or this share of the main part, if that is more
_HOLDERS = 3  # references to a part that only `_wait_for_readers` uses: its tuple, its loop, the counting call
_FEW = 64  # deleted listings that may wait for the lock; marking one takes 5 µs
_BACKLOG = 8  # tails of codes at which a writer waits for the running merge,
_BACKLOG_SHARE = 128  # or this share of all codes: spreading 10 million codes over new lists took 80 s


def _wait_for_readers(parts: Sequence[Sealed]) -> None:
    """Wait until no search uses these parts, but at most 10 s.

    Freeing a part of ten million codes takes 20 ms. This thread has the time; the last search does not.
    """
    deadline = time.monotonic() + 10
    for part in parts:
        while sys.getrefcount(part) > _HOLDERS and time.monotonic() < deadline:
            time.sleep(0.01)


class HashIndex:
    """The codes of one epoch, by listing and photo.

    Any thread may call any method. Changes and `get` wait for one lock. `search`, `stats` and `len` take no lock, and
    each sees one consistent state. A search that starts after a change has returned sees the change.

    New codes go to a tail, which is searched by plain arithmetic. A tail of `max_pending` codes is frozen. A merge
    joins it with the middle part, or with all sealed parts if the middle part has grown or too many codes are dead.
    Searches read the frozen tail and the old parts until the new part replaces them. A part below `exact_below` codes
    is searched exactly, a larger one by inverted lists. Searches skip dead codes.
    """

    def __init__(self, epoch: str, limits: IndexLimits | None = None) -> None:
        """Make an empty index, which refuses every epoch but its own.

        Raises:
            ConfigError: FAISS is not installed, or it finds no GPU and the limits ask for one.
        """
        try:
            import faiss
        except ModuleNotFoundError:
            raise ConfigError("index: faiss is not installed; pip install 'groknet[cpu]'") from None
        self._set_threads = faiss.omp_set_num_threads
        self._epoch = epoch
        self._limits = limits or IndexLimits()
        if self._limits.gpu:
            require_gpu()
        self._lock = threading.Lock()
        self._merged = threading.Condition(self._lock)
        self._listings = Listings()
        self._removed: dict[str, int] = {}
        self._merge: Merge | None = None
        self._fault: Exception | None = None

    @property
    def epoch(self) -> str:
        """The epoch of all codes in this index."""
        return self._epoch

    @property
    def nbytes(self) -> int:
        """The size of the sealed parts in bytes: codes, ids, deletion marks, and an estimate of multi-index hashes."""
        return sum(part.nbytes for part in self._listings.view.sealed)

    def __len__(self) -> int:
        """The number of codes that a search can find."""
        return self._listings.view.vectors

    def stats(self) -> IndexStats:
        """Return the sizes, for metrics."""
        view = self._listings.view
        return IndexStats(view.vectors, view.listings, view.rows - view.vectors, view.pending, len(self._removed))

    def require_epoch(self, epoch: str) -> None:
        """Raise EpochMismatch unless `epoch` is the index's own."""
        if epoch != self._epoch:
            raise EpochMismatch(f"epoch: {epoch} offered to an index of {self._epoch}; use the bundle of that epoch")

    def apply(self, message: HashMessage) -> bool:
        """Replace what the index holds about a listing by a message's hashes.

        Returns:
            False if nothing changed: the message is older than the index's state, or not newer than the listing's
            removal (at equal times a removal wins). Of two messages with equal times, the one applied last wins.

        Raises:
            EpochMismatch: the message has another epoch.
        """
        self.require_epoch(message.epoch)
        codes = np.frombuffer(bytes.fromhex("".join(image.hash for image in message.images)), np.uint8)
        with self._lock:
            self._ready_for_change()
            if message.event_time <= self._removed.get(message.listing_id, 0):
                return False
            held = self._listings.find(message.listing_id)
            if held is not None and message.event_time < held.event_time:
                return False
            self._listings.put(held, message, codes.reshape(-1, CODE_BYTES))
            self._removed.pop(message.listing_id, None)
            self._tidy()
        return True

    def remove(self, listing_id: str, event_time: int) -> bool:
        """Remove a listing, and remember its removal at `event_time` (UTC microseconds) even if it is unknown.

        Returns:
            False if nothing changed, because the index has a newer state.
        """
        with self._lock:
            self._ready_for_change()
            held = self._listings.find(listing_id)
            if event_time < (held.event_time if held else self._removed.get(listing_id, 0)):
                return False
            if held is not None:
                self._listings.drop(held)
            self._removed.pop(listing_id, None)  # the dictionary keeps the order of arrival
            self._removed[listing_id] = event_time
            if len(self._removed) > self._limits.max_removed:
                self._forget_oldest()
            self._tidy()
        return True

    def get(self, listing_id: str) -> IndexedListing | None:
        """Return what the index holds about a listing, or None."""
        with self._lock:
            held = self._listings.find(listing_id)
            return None if held is None else self._listings.show(held)

    def removed_at(self, listing_id: str) -> int | None:
        """Return the event time (UTC microseconds) of a listing's removal, or None if no removal is known."""
        with self._lock:
            return self._removed.get(listing_id)

    def search(
        self,
        hashes: npt.NDArray[np.uint8],
        k: int,
        *,
        epoch: str,
        where: Where | None = None,
        radius: int | None = None,
    ) -> list[list[Neighbour]]:
        """Find the photos nearest to each hash.

        Args:
            hashes: uint8 [n, 32].
            k: the most neighbours of a hash, at least 1.
            epoch: the epoch of the hashes.
            where: a filter for listings.
            radius: the largest distance in bits, 0 to 256.

        Returns:
            For each hash its neighbours, nearest first; equal distances are ordered by listing id, then photo id.

        Raises:
            EpochMismatch: the hashes have another epoch than the index.
            ValueError: wrong dtype or shape, k below 1, or a radius out of range.
        """
        self.require_epoch(epoch)
        if hashes.dtype != np.uint8 or hashes.ndim != 2 or hashes.shape[1] != CODE_BYTES:
            raise ValueError(f"hashes: {hashes.dtype} {list(hashes.shape)}, not uint8 [n, {CODE_BYTES}]")
        if k < 1:
            raise ValueError(f"k: {k} is below 1")
        if radius is not None and not 0 <= radius <= BITS:
            raise ValueError(f"radius: {radius} is not 0 to {BITS}")
        self._set_threads(self._limits.threads)  # OpenMP keeps this number for each calling thread
        listings = self._listings
        return listings.view.search(np.ascontiguousarray(hashes), k, listings.profiles, where, radius)

    def compact(self) -> None:
        """Merge everything into one part without dead codes. Blocks; searches continue meanwhile."""
        with self._lock:
            self._ready_for_change(0)
            self._begin(whole=True)
            self._finish_here()

    def settle(self) -> None:
        """Wait until no merge is running."""
        with self._lock:
            self._ready_for_change(0)

    # merging: the caller holds the lock ------------------------------------------------------------------------

    def _ready_for_change(self, backlog: int | None = None) -> None:
        """Wait while a merge runs and the tails hold over `backlog` codes. Raises RuntimeError if a merge failed."""
        share = self._listings.view.rows // _BACKLOG_SHARE
        bound = max(_BACKLOG * self._limits.max_pending, share) if backlog is None else backlog
        while self._merge is not None and (backlog == 0 or self._listings.view.pending > bound):
            self._merged.wait()
        if self._fault is not None:
            raise RuntimeError("the index could not be merged; start it again") from self._fault

    def _tidy(self) -> None:
        """Begin a merge if a limit is passed."""
        if self._merge is not None:
            return
        view, limits = self._listings.view, self._limits
        dead = view.rows - view.vectors
        whole = dead > limits.max_tombstones or dead > max(limits.max_pending, view.rows // 4)
        whole |= view.generation >= _MAX_GENERATION
        if not whole and view.pending <= limits.max_pending:
            return
        self._begin(whole=whole)
        if limits.background:
            threading.Thread(target=self._finish_beside, name="index-merge", daemon=True).start()
        else:
            self._finish_here()

    def _begin(self, *, whole: bool) -> None:
        self._merge = self._listings.freeze(self._parts_to_merge(whole))

    def _parts_to_merge(self, whole: bool) -> tuple[Sealed, ...]:
        """Return the middle part, or all parts. There are at most two, and the larger one is the main part."""
        parts = sorted(self._listings.view.sealed, key=lambda part: -len(part.codes))
        if whole or len(parts) == 0:
            return tuple(parts)
        main, *middle = parts
        size = self._listings.view.pending + sum(len(part.codes) for part in middle)
        bound = max(_MIDDLE * self._limits.max_pending, len(main.codes) // _MIDDLE_SHARE)
        return tuple(parts) if size > bound else tuple(middle)

    def _finish_here(self) -> None:
        if self._merge is not None:
            self._set_threads(self._limits.threads)
            self._take(self._merge.run(self._limits))

    def _finish_beside(self) -> None:
        merge = self._merge
        if merge is None:
            return
        self._set_threads(1)
        try:
            part = merge.run(self._limits)
            for where in {where for old in merge.sealed for where in old.filters}:
                part.prepare(where, self._listings.profiles.admitted(where))
            self._catch_up(part)
        except Exception as error:
            _log.exception("the index could not be merged")
            with self._lock:
                self._fault, self._merge = error, None
                self._merged.notify_all()
            return
        with self._lock:
            self._take(part)
        _wait_for_readers(merge.sealed)

    def _catch_up(self, part: Sealed) -> None:
        """Mark listings deleted during the merge in the new part, except the last few, which need the lock."""
        while True:
            with self._lock:
                killed = self._listings.killed()
            part.mark_deleted(killed)
            if len(killed) < _FEW:
                return

    def _take(self, part: Sealed) -> None:
        if self._merge is None:
            raise RuntimeError("no merge is under way")
        self._listings.take(self._merge, part)
        self._merge = None
        self._merged.notify_all()

    def _forget_oldest(self) -> None:
        """Forget the oldest hundredth of the removals: 10,000 of a million take 2 ms."""
        for listing_id in list(islice(self._removed, len(self._removed) // 100 + 1)):
            del self._removed[listing_id]

    # snapshots -------------------------------------------------------------------------------------------------

    def snapshot(self, path: Path, offsets: Mapping[str, int]) -> None:
        """Write the index and its offsets so that both survive a crash and a power cut.

        Call it from the thread that applies messages, because the offsets belong to what was applied before the call.

        Args:
            path: the main file. Files of sealed parts are written into the same folder, each once.
            offsets: for each partition the next offset.

        Raises:
            OSError: a file cannot be written.
        """
        self.gathered(offsets)(Path(path))

    def gathered(self, offsets: Mapping[str, int]) -> Callable[[Path], None]:
        """Collect what `snapshot` would write now, and return a function that writes it to a path.

        Any one thread may call that function later. Collecting blocks changes for milliseconds; writing a large new
        part takes seconds.
        """
        with self._lock:
            view, listings = self._listings.view, self._listings.fresh()
            removed, profiles = dict(self._removed), self._listings.profiles.all()
        contents = Contents(
            epoch=self._epoch,
            offsets=dict(offsets),
            profiles=profiles,
            removed=removed,
            listings=listings,
            sealed=list(view.sealed),
            generation=view.generation,
        )
        return partial(write_snapshot, contents=contents)

    @classmethod
    def restore(cls, path: Path, epoch: str, limits: IndexLimits | None = None) -> tuple[HashIndex, dict[str, int]]:
        """Read a snapshot, and return its index and its offsets.

        Raises:
            FileNotFoundError: there is no snapshot.
            EpochMismatch: the snapshot has another epoch.
            SnapshotRefused: the snapshot is damaged or has another format. Rebuild the index from the topic.
        """
        index = cls(epoch, limits)
        contents = read_snapshot(Path(path), index._limits)
        index.require_epoch(contents.epoch)
        index._removed = contents.removed
        index._listings.fill(contents.profiles, contents.sealed, contents.listings)
        return index, contents.offsets
