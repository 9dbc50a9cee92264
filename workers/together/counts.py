"""The occasions of the last days, in memory, and the counts that follow from them.

Nothing is added up in advance: a pair is counted when a listing is asked about, over the listing's own occasions. So an
occasion that is replaced, withdrawn or too old leaves no trace in any count.
"""

from __future__ import annotations

import heapq
import threading
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice

from schemas.occasions import Occasion

MOST_COUNTED = 2_000
"""So many occasions of a listing are counted, those that arrived last. More would not change the order of a list."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Another listing: on how many occasions it was together with the one asked about (`together`), and on how many it
    was at all (`occasions`)."""

    listing_id: str
    together: int
    occasions: int


@dataclass(frozen=True, slots=True)
class _Held:
    """`sent`: the listings as they came; `listing_ids`: without those that were removed since."""

    event_time: int
    sent: tuple[str, ...]
    listing_ids: tuple[str, ...]


class Counts:
    """At most `most` occasions, the oldest leave first. Thread-safe."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._occasions: dict[str, _Held] = {}
        self._by_listing: dict[str, dict[str, None]] = {}  # occasion ids, in the order of arrival
        self._ages: list[tuple[int, str]] = []  # a heap of (event_time, id); may name occasions that are gone
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._occasions)

    def add(self, occasion: Occasion) -> bool:
        """Take an occasion. Returns False if an occasion of its id is as new or newer, so that sending one again, or in
        another order, changes nothing."""
        sent = tuple(occasion.listing_ids)
        held = _Held(occasion.event_time, sent, sent)
        with self._lock:
            before = self._occasions.get(occasion.occasion_id)
            if before is not None:
                if (before.event_time, before.sent) >= (held.event_time, held.sent):
                    return False
                self._drop(occasion.occasion_id)
            self._occasions[occasion.occasion_id] = held
            for listing_id in held.listing_ids:
                self._by_listing.setdefault(listing_id, {})[occasion.occasion_id] = None
            heapq.heappush(self._ages, (held.event_time, occasion.occasion_id))
            while len(self._occasions) > self._most:
                self._drop_oldest()
            return True

    def withdraw(self, occasion_id: str) -> bool:
        """Forget an occasion. Returns False if it is not held."""
        with self._lock:
            if occasion_id not in self._occasions:
                return False
            self._drop(occasion_id)
            return True

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._occasions.clear()
            self._by_listing.clear()
            self._ages.clear()

    def expire(self, before: int) -> None:
        """Forget all occasions with an event time below `before` (UTC microseconds)."""
        with self._lock:
            while self._ages and self._ages[0][0] < before:
                self._drop_oldest()

    def forget(self, listing_id: str, until: int) -> None:
        """Take a removed listing out of all occasions up to the event time of its removal (UTC microseconds)."""
        with self._lock:
            for occasion_id in list(self._by_listing.get(listing_id, ())):
                held = self._occasions[occasion_id]
                if held.event_time <= until:
                    self._unlink(listing_id, occasion_id)
                    rest = tuple(one for one in held.listing_ids if one != listing_id)
                    self._occasions[occasion_id] = _Held(held.event_time, held.sent, rest)

    def occasions(self, listing_id: str) -> int:
        """On how many occasions a listing was."""
        return len(self._by_listing.get(listing_id, ()))

    def pairs(self, listing_ids: Iterable[str], without: Collection[str] = ()) -> list[Pair]:
        """The listings that were on an occasion with another one that is in `listing_ids`, in the order of ids, but for
        those of `without`. An occasion with several of `listing_ids` counts once."""
        asked = dict.fromkeys(listing_ids)
        with self._lock:
            ids: dict[str, None] = {}
            for listing_id in asked:
                last_first = reversed(self._by_listing.get(listing_id, {}))
                ids.update(dict.fromkeys(islice(last_first, MOST_COUNTED)))
            found: Counter[str] = Counter()
            for one in ids:
                listings = self._occasions[one].listing_ids
                several = sum(other in asked for other in listings) > 1
                found.update(other for other in listings if several or other not in asked)
            return [
                Pair(other, found[other], len(self._by_listing[other]))
                for other in sorted(found)
                if other not in without
            ]

    def _drop_oldest(self) -> None:
        event_time, occasion_id = heapq.heappop(self._ages)
        held = self._occasions.get(occasion_id)
        if held is not None and held.event_time == event_time:
            self._drop(occasion_id)

    def _drop(self, occasion_id: str) -> None:
        for listing_id in self._occasions.pop(occasion_id).listing_ids:
            self._unlink(listing_id, occasion_id)
        # Replaced occasions leave their old ages behind, which must not add up.
        if len(self._ages) > 2 * len(self._occasions) + 1_000:
            self._ages = [(held.event_time, one) for one, held in self._occasions.items()]
            heapq.heapify(self._ages)

    def _unlink(self, listing_id: str, occasion_id: str) -> None:
        occasions = self._by_listing[listing_id]
        del occasions[occasion_id]
        if not occasions:
            del self._by_listing[listing_id]
