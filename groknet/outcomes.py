"""What became of what was sent: the store, the dead letters and the indexer are asked until every listing is settled.

One outcome a listing: of several events about it in one submission the newest counts.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal
from urllib.parse import quote

import msgspec

from groknet.home import Home
from groknet.sending import Outgoing
from groknet.services import Http, read_running
from schemas.dead_letters import parse_dead_letter
from schemas.predictions import StoredListing
from schemas.topics import DEAD_LETTERS
from workers.stores.base import Order, Store
from workers.streams.base import Record, StreamAdmin

Status = Literal["sent", "searchable", "partial", "dead", "removed", "superseded", "timeout"]
POLL_S = 0.05  # a twentieth of the promised second; an idle round is one query
_ROUND = 256  # listings asked about in one round: bounds a query, and a round's time


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `submit --json`; seconds from sending to being seen in the store and by the indexer."""

    listing_id: str | None
    status: Status
    stored_s: float | None = None
    searchable_s: float | None = None


class IndexView:
    """The indexers' view of a listing, over their HTTP."""

    def __init__(self, urls: Callable[[], list[str]]) -> None:
        self._urls = urls

    def event_time(self, listing_id: str) -> int:
        """The newest event time that an index has of it, 0 when none has it; raises OSError when one is silent."""
        newest = 0
        for url in self._urls():
            status, body = Http(url).request("GET", f"/v1/listings/{quote(listing_id, safe='')}")
            if status == 200:
                newest = max(newest, int(body["event_time"]))
            elif status != 404:
                raise ConnectionError(f"{url} answered {status}")
        return newest


def indexer_urls(home: Home, configured: Iterable[str]) -> list[str]:
    """The configured indexers, else the one that runs on this home; raises ConnectionError without either."""
    urls = list(configured)
    running = None if urls else read_running(home, "indexer")
    if running is not None:
        return [running.url]
    if not urls:
        raise ConnectionError("no indexer runs on this home")
    return urls


@dataclass(slots=True)
class _Pending:
    """What is left of an event once it is sent; its photos are not kept."""

    order: Order
    images: frozenset[str]
    sent: float
    bad_images: set[str] = field(default_factory=set)
    stored_s: float | None = None
    partial: bool = False


class Tracker:
    """Follows sent events to their outcome. Not thread-safe."""

    def __init__(self, store: Store, admin: StreamAdmin, index: IndexView, give_up_s: float) -> None:
        """`give_up_s`: seconds in which nothing moved. Dead letters are read from the present end of their topic."""
        self._store = store
        self._admin = admin
        self._index = index
        self._give_up_s = give_up_s
        self._letters = admin.end_offsets(DEAD_LETTERS)
        self._pending: dict[str, _Pending] = {}
        self._stored: dict[str, _Pending] = {}
        self._by_digest: dict[bytes, str] = {}
        self._moved = time.monotonic()
        self._next = 0.0

    def __len__(self) -> int:
        return len(self._pending) + len(self._stored)

    def sent(self, item: Outgoing) -> Outcome | None:
        """Follow one message; what does not decode is a dead letter already, since it can only become one."""
        self._moved = time.monotonic()
        event = item.event
        if event is None:
            return Outcome(listing_id=item.listing_id, status="dead")
        known = self._pending.get(event.listing_id) or self._stored.get(event.listing_id)
        order = event.order
        if known is not None and known.order >= order:
            return None
        self._stored.pop(event.listing_id, None)
        images = frozenset(image.image_id for image in event.images)
        self._pending[event.listing_id] = _Pending(order, images, time.monotonic())
        self._by_digest[hashlib.sha256(item.value).digest()] = event.listing_id
        return None

    def poll(self) -> list[Outcome]:
        """Ask once, at most every POLL_S; returns what has been settled since."""
        now = time.monotonic()
        if now < self._next or not len(self):
            return []
        settled = [*self._read_store(), *self._read_letters(), *self._read_index()]
        now = time.monotonic()
        self._next = now + POLL_S
        if settled:
            self._moved = now
        elif now - self._moved > self._give_up_s:
            left = {**self._pending, **self._stored}.items()
            settled = [Outcome(listing_id=i, status="timeout", stored_s=e.stored_s) for i, e in left]
            self._pending.clear()
            self._stored.clear()
        return settled

    def drain(self) -> Iterable[Outcome]:
        """Outcomes until every listing is settled."""
        while len(self):
            yield from self.poll()
            time.sleep(POLL_S / 5)

    def _read_store(self) -> Iterable[Outcome]:
        ids = list(islice(self._pending, _ROUND))
        newest = self._store.latest(ids) if ids else {}
        ours = [i for i in ids if i in newest and newest[i].order >= self._pending[i].order]
        rows = self._store.get(ours) if ours else {}
        for listing_id in ours:
            entry = self._pending.pop(listing_id)
            row = rows.get(listing_id)
            if newest[listing_id].order > entry.order:
                yield Outcome(listing_id=listing_id, status="superseded")
            elif isinstance(row, StoredListing) and row.summary.status == "dead":
                yield Outcome(listing_id=listing_id, status="dead")
            else:
                entry.stored_s = round(time.monotonic() - entry.sent, 3)
                entry.partial = isinstance(row, StoredListing) and row.summary.status == "partial"
                self._stored[listing_id] = entry
                self._moved = time.monotonic()
        for listing_id in ids:  # the ones asked about go to the end, so that the next round asks about others
            if listing_id in self._pending:
                self._pending[listing_id] = self._pending.pop(listing_id)

    def _read_letters(self) -> Iterable[Outcome]:
        for record in self._admin.read(DEAD_LETTERS, self._letters):
            self._letters[record.partition] = record.next_offset
            listing_id = self._by_digest.get(hashlib.sha256(record.value or b"").digest())
            entry = self._pending.get(listing_id) if listing_id else None
            if listing_id and entry and self._died(entry, record):
                del self._pending[listing_id]
                yield Outcome(listing_id=listing_id, status="dead")

    @staticmethod
    def _died(entry: _Pending, record: Record) -> bool:
        """True when the whole event is a dead letter, or the last of its photos has become one."""
        try:
            image_id = parse_dead_letter(record.headers).image_id
        except msgspec.ValidationError:
            return True
        if image_id is not None:
            entry.bad_images.add(image_id)
        return image_id is None or entry.bad_images >= entry.images

    def _read_index(self) -> Iterable[Outcome]:
        for listing_id, entry in list(islice(self._stored.items(), _ROUND)):
            try:
                indexed = self._index.event_time(listing_id)
            except OSError:
                return  # being restarted; the next round asks again
            event_time, removed, _ = entry.order
            if (indexed == 0) if removed else (indexed >= event_time):
                del self._stored[listing_id]
                seconds = round(time.monotonic() - entry.sent, 3)
                status: Status = "removed" if removed else "partial" if entry.partial else "searchable"
                yield Outcome(listing_id=listing_id, status=status, stored_s=entry.stored_s, searchable_s=seconds)
