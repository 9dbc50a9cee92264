"""The listings that became searchable last, newest first: what a live strip shows."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

import msgspec


class Recent(msgspec.Struct, frozen=True, kw_only=True):
    """A listing, its event's time, when it was uploaded (if known) and when it became searchable; UTC microseconds."""

    listing_id: str
    event_time: int
    uploaded_at: int | None
    indexed_at: int


class RecentListings:
    """A bounded memory, one entry a listing. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: OrderedDict[str, Recent] = OrderedDict()
        self._lock = Lock()

    def note(self, entry: Recent) -> None:
        """It became searchable just now; the oldest entry gives way when there are too many."""
        with self._lock:
            self._entries.pop(entry.listing_id, None)
            self._entries[entry.listing_id] = entry
            if len(self._entries) > self._limit:
                self._entries.popitem(last=False)

    def forget(self, listing_id: str) -> None:
        """It left the index."""
        with self._lock:
            self._entries.pop(listing_id, None)

    def newest(self, n: int) -> list[Recent]:
        """At most n, newest first."""
        with self._lock:
            return list(self._entries.values())[: -n - 1 : -1]

    def get(self, listing_id: str) -> Recent | None:
        """Its entry, while it is among the newest."""
        return self._entries.get(listing_id)
