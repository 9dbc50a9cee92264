"""The live index: one writer at a time, readers that never wait, merges beside both."""

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
_MAX_GENERATION = 2**31  # of 32 bits; a merge of all parts starts it again
_MIDDLE = 8  # tails that the middle part takes before it is merged into the main one,
_MIDDLE_SHARE = 32  # or this share of the main part, where that is more
_HOLDERS = 3  # of a part that only `_outlive_readers` still knows: its tuple, its loop, the call that counts
_FEW = 64  # killed while a part was made; to bury one takes 5 µs
_BACKLOG = 8  # tails' worth of codes at which a writer waits for the merge under way,
_BACKLOG_SHARE = 128  # or this share of all codes: to spread 10 million over new lists took 80 s


def _outlive_readers(parts: Sequence[Sealed]) -> None:
    """Return once nobody else holds these parts, or 10 s later: to free one of ten million codes takes 20 ms, which
    this thread can spare, and the search that would be the last to hold it cannot."""
    deadline = time.monotonic() + 10
    for part in parts:
        while sys.getrefcount(part) > _HOLDERS and time.monotonic() < deadline:
            time.sleep(0.01)


class HashIndex:
    """Codes of one epoch under (listing, image).

    Every method may be called from any thread. Changes, and `get`, queue for one lock; `search`, `stats` and `len` take
    none, each sees one consistent state, and a change is visible to every search that starts after it returned.

    A new code goes to a tail (searched by plain arithmetic). A tail of `max_pending` codes is frozen, and a merge makes
    one sealed part of it and the middle part, or of it and all sealed parts when the middle one has grown or too many
    codes are dead; searches read frozen tail and old parts until the new part takes their place. A part below
    `exact_below` codes is searched exactly, a larger one by inverted lists. Dead codes are passed over by searches.
    """

    def __init__(self, epoch: str, limits: IndexLimits | None = None) -> None:
        """An empty index of `epoch`, which refuses all other epochs. Raises ConfigError when FAISS is not installed,
        or finds no GPU that the limits ask for."""
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
        return self._epoch

    @property
    def nbytes(self) -> int:
        """Bytes of the sealed parts: codes, ids, marks; a multi-index hash as far as it can be told."""
        return sum(part.nbytes for part in self._listings.view.sealed)

    def __len__(self) -> int:
        """Codes that a search can find."""
        return self._listings.view.vectors

    def stats(self) -> IndexStats:
        """Sizes, for metrics."""
        view = self._listings.view
        return IndexStats(view.vectors, view.listings, view.rows - view.vectors, view.pending, len(self._removed))

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
        """Take a listing out and remember that it was removed at `event_time` (UTC microseconds), known or not.

        Returns:
            False when the index has something newer; then nothing changes.
        """
        with self._lock:
            self._ready_for_change()
            held = self._listings.find(listing_id)
            if event_time < (held.event_time if held else self._removed.get(listing_id, 0)):
                return False
            if held is not None:
                self._listings.drop(held)
            self._removed.pop(listing_id, None)  # the order of the dictionary is that of their coming
            self._removed[listing_id] = event_time
            if len(self._removed) > self._limits.max_removed:
                self._forget_oldest()
            self._tidy()
        return True

    def get(self, listing_id: str) -> IndexedListing | None:
        """What the index holds of a listing, or None."""
        with self._lock:
            held = self._listings.find(listing_id)
            return None if held is None else self._listings.show(held)

    def removed_at(self, listing_id: str) -> int | None:
        """Event time (UTC microseconds) of the removal of a listing that is not there; None where none is known."""
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
        """The k nearest photos of each hash, nearest first, equal distances by listing id and image id.

        Args:
            hashes: uint8 [n, 32] of `epoch`.
            k: at least 1; fewer neighbours come back when the index holds fewer.
            epoch: of the hashes.
            where: only photos of listings that it admits.
            radius: none farther than so many bits, 0 to 256.

        Raises:
            EpochMismatch: the hashes are of another epoch than the index.
            ValueError: wrong dtype or shape, k below 1, or a radius out of bounds.
        """
        self.require_epoch(epoch)
        if hashes.dtype != np.uint8 or hashes.ndim != 2 or hashes.shape[1] != CODE_BYTES:
            raise ValueError(f"hashes: {hashes.dtype} {list(hashes.shape)}, not uint8 [n, {CODE_BYTES}]")
        if k < 1:
            raise ValueError(f"k: {k} is below 1")
        if radius is not None and not 0 <= radius <= BITS:
            raise ValueError(f"radius: {radius} is not 0 to {BITS}")
        self._set_threads(self._limits.threads)  # OpenMP keeps the number for each calling thread
        listings = self._listings
        return listings.view.search(np.ascontiguousarray(hashes), k, listings.profiles, where, radius)

    def compact(self) -> None:
        """Merge everything into one part without dead codes before returning; searches go on meanwhile."""
        with self._lock:
            self._ready_for_change(0)
            self._begin(whole=True)
            self._finish_here()

    def settle(self) -> None:
        """Return once no merge is under way."""
        with self._lock:
            self._ready_for_change(0)

    # merging: the caller holds the lock ------------------------------------------------------------------------

    def _ready_for_change(self, backlog: int | None = None) -> None:
        """Wait while a merge is under way and the tails hold more codes than `backlog`; raise what a merge raised."""
        share = self._listings.view.rows // _BACKLOG_SHARE
        bound = max(_BACKLOG * self._limits.max_pending, share) if backlog is None else backlog
        while self._merge is not None and (backlog == 0 or self._listings.view.pending > bound):
            self._merged.wait()
        if self._fault is not None:
            raise RuntimeError("the index could not be merged; start it again") from self._fault

    def _tidy(self) -> None:
        """Begin a merge when a bound is passed."""
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
        """The middle part, or all of them: there are two at most, the larger one is the main part."""
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
        _outlive_readers(merge.sealed)

    def _catch_up(self, part: Sealed) -> None:
        """Bury in the new part who died while it was made, but for the last few: those wait for the lock."""
        while True:
            with self._lock:
                killed = self._listings.killed()
            part.bury(killed)
            if len(killed) < _FEW:
                return

    def _take(self, part: Sealed) -> None:
        if self._merge is None:
            raise RuntimeError("no merge is under way")
        self._listings.take(self._merge, part)
        self._merge = None
        self._merged.notify_all()

    def _forget_oldest(self) -> None:
        """Drop a hundredth of the remembered removals, those that came first: 10,000 of a million take 2 ms."""
        for listing_id in list(islice(self._removed, len(self._removed) // 100 + 1)):
            del self._removed[listing_id]

    # snapshots -------------------------------------------------------------------------------------------------

    def snapshot(self, path: Path, offsets: Mapping[str, int]) -> None:
        """Write the index and `offsets`, the next offset of each partition, atomically and durably.

        `path` names the offsets, the new codes and the files of the sealed parts beside it; a part is written once.
        The offsets belong to what was applied before this call: call it from the thread that applies.
        """
        self.gathered(offsets)(Path(path))

    def gathered(self, offsets: Mapping[str, int]) -> Callable[[Path], None]:
        """What `snapshot` would write, as of now, to be written by any one thread at its leisure. Changes wait while
        it is gathered, which takes milliseconds; a large new part takes seconds to be written."""
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
        """The index of a snapshot and its offsets.

        Raises:
            FileNotFoundError: there is no snapshot.
            EpochMismatch: it is of another epoch.
            SnapshotRefused: it is damaged or of another format; rebuild from the topic.
        """
        index = cls(epoch, limits)
        contents = read_snapshot(Path(path), index._limits)
        index.require_epoch(contents.epoch)
        index._removed = contents.removed
        index._listings.fill(contents.profiles, contents.sealed, contents.listings)
        return index, contents.offsets
