"""Remembers the listings that became searchable last, for the live strip of the page."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

import msgspec


class Recent(msgspec.Struct, frozen=True, kw_only=True):
    """A listing: the time of its event, when it was uploaded (if known) and when it became searchable, in UTC µs."""

    listing_id: str
    event_time: int
    uploaded_at: int | None
    indexed_at: int


class RecentListings:
    """The newest listings, one entry for each, up to a limit. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[str, Recent] = OrderedDict()
        self._lock = Lock()

    def note(self, entry: Recent) -> None:
        """Add a listing that just became searchable. The oldest entry is dropped if there are too many."""
        with self._lock:
            self._entries.pop(entry.listing_id, None)
            self._entries[entry.listing_id] = entry
            if len(self._entries) > self._limit:
                self._entries.popitem(last=False)

    def forget(self, listing_id: str) -> None:
        """Remove a listing that left the index."""
        with self._lock:
            self._entries.pop(listing_id, None)

    def newest(self, n: int) -> list[Recent]:
        """At most n entries, the newest first."""
        with self._lock:
            return list(self._entries.values())[: -n - 1 : -1]

    def get(self, listing_id: str) -> Recent | None:
        """The entry of a listing; None if it is not among the newest."""
        return self._entries.get(listing_id)
