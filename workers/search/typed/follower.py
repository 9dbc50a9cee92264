"""Keeps the label index live: reads the store once, then every listing that the hash topic names.

The tagger publishes the hashes of a listing, or its tombstone, after the store has the change. So whoever reads a key
of the hash topic finds the change in the store, and needs nothing else of the message. There is no consumer group.
Offsets are taken before the store is read, so nothing between is missed, and reading a listing twice is harmless.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from typing import TypeVar

from schemas.errors import ConfigError, Transient
from schemas.predictions import Predictions, StoredListing
from schemas.topics import hash_topic
from workers.catching_up import CatchingUp
from workers.search.find.labels.naming import Names
from workers.search.typed.label_index import LabelIndex
from workers.search.typed.query import title_words
from workers.stores import Store
from workers.streams import Partition, Stream, StreamAdmin
from workers.watching import typed_metrics

T = TypeVar("T")

_log = logging.getLogger(__name__)
_TOGETHER = 50  # listings of one read of the store
_POLL_S = 0.5
_BACKOFF_S = (0.2, 5.0)


class Follower:
    """A thread that fills an index and keeps it live. `complete` becomes true when the store was read to its end."""

    def __init__(self, index: LabelIndex, *, stream: Stream, store: Store, names: Names, epoch: str) -> None:
        self._index, self._stream, self._store, self._names = index, stream, store, names
        self._topic = hash_topic(epoch)
        self._offsets: dict[Partition, int] = {}
        self.complete = False
        self.progress = CatchingUp("labels")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="search-labels", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self.progress.begin()
        self._thread.start()

    def stop(self) -> None:
        """End the thread, which may take as long as one call of the store or the stream."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self.progress.end()

    def _run(self) -> None:
        admin = self._until_done(self._stream.admin)
        if admin is None:
            return
        with closing(admin):
            if self._until_done(lambda: self._begin(admin)):
                _log.info("typed queries: %d listings are known by their labels", len(self._index))
            while not self._stop.wait(_POLL_S):
                self._until_done(lambda: self._follow(admin))

    def _until_done(self, work: Callable[[], T]) -> T | None:
        """Repeat work until it succeeds; while the store or the stream is away, after growing pauses. None if the
        thread is to end before."""
        pause_s, told = _BACKOFF_S[0], False
        while not self._stop.is_set():
            try:
                return work()
            except (Transient, ConfigError) as error:  # the topic may not be there yet
                if not told:
                    _log.warning("typed queries wait: %s", error)
                told = True
                self.progress.waits(str(error))
                self._stop.wait(pause_s)
                pause_s = min(2 * pause_s, _BACKOFF_S[1])
            except Exception as error:  # a fault of ours must not end what follows the listings for good
                _log.exception("typed queries: following the listings failed; it goes on")
                self.progress.waits(f"a fault of the service ({type(error).__name__}); its log says more")
                self._stop.wait(_BACKOFF_S[1])
        return None

    def _begin(self, admin: StreamAdmin) -> bool:
        """Read the whole store."""
        self.complete = False
        self._offsets = admin.end_offsets(self._topic)
        for listing in self._store.scan():
            if self._stop.is_set():
                return False
            if isinstance(listing, StoredListing):
                self._take(listing)
        self.complete = True
        self._measure()
        self.progress.reached()
        return True

    def _follow(self, admin: StreamAdmin) -> bool:
        """Read what has changed since."""
        ends = admin.end_offsets(self._topic)
        if any(end < self._offsets.get(partition, 0) for partition, end in ends.items()):
            _log.warning("%s was replaced by a shorter topic: the store is read again", self._topic)
            return self._begin(admin)
        if any(self._offsets.get(partition, 0) < end for partition, end in ends.items()):
            records = iter(admin.read(self._topic, {p: self._offsets.get(p, 0) for p in ends}))
            while some := list(islice(records, _TOGETHER)):
                if self._stop.is_set():
                    return False
                self._read([(record.key or b"").decode("ascii", "replace") for record in some])
                for record in some:
                    self._offsets[record.partition] = record.next_offset
            for partition, end in ends.items():  # compaction may have removed the last records of a partition
                self._offsets[partition] = max(self._offsets.get(partition, 0), end)
        # Without new records as well, because the store may have been away when room became free.
        while (waiting := self._index.with_room(_TOGETHER)) and not self._stop.is_set():
            self._read(waiting)
        self.progress.reached()
        return True

    def _read(self, listing_ids: Sequence[str]) -> None:
        wanted = list(dict.fromkeys(listing_ids))
        found = self._store.get(wanted)
        for listing_id in wanted:
            listing = found.get(listing_id)
            if isinstance(listing, StoredListing):
                self._take(listing)
            else:
                self._index.remove(listing_id)
        self._measure()

    def _take(self, listing: StoredListing) -> None:
        if not listing.images:
            self._index.remove(listing.listing_id)
            return
        self._index.put(listing.listing_id, shown_labels(listing, self._names), words_of(listing))

    def _measure(self) -> None:
        typed_metrics.TYPED_LISTINGS.labels("held").set(len(self._index))
        typed_metrics.TYPED_LISTINGS.labels("left_out").set(self._index.left_out)


def shown_labels(listing: StoredListing, names: Names) -> Predictions:
    """The predictions of a listing that may be read: of heads that apply and are not hidden."""
    return names.relevant(listing.summary.predictions, listing.summary.applies)


def words_of(listing: StoredListing) -> tuple[str, ...]:
    """The keys of the words of a listing's title."""
    return title_words(listing.event.title or "")
