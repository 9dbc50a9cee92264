"""Finds the outcomes of sent events: it asks the store, the dead letters and the indexers until every listing has one.

Each listing has one outcome. If a submission has several events of a listing, the newest one counts.
"""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, NamedTuple
from urllib.parse import quote

import msgspec

from groknet.home.epochs import epoch_of, every_indexer, read_record
from groknet.home.paths import Home
from groknet.home.running import Http
from groknet.submitting.send import Outgoing
from schemas.dead_letters import parse_dead_letter
from schemas.errors import Transient
from schemas.events import SURPLUS
from schemas.predictions import BadImage, RemovalMarker, StoredListing
from schemas.predictions import Status as StoredStatus
from schemas.topics import DEAD_LETTERS
from workers.stores.base import Latest, Order, Store
from workers.streams.base import Record, StreamAdmin

Status = Literal["sent", "searchable", "partial", "dead", "empty", "removed", "superseded", "timeout"]
_OUTCOMES: dict[StoredStatus, Status] = {"partial": "partial", "empty": "empty"}
POLL_S = 0.05  # a twentieth of the promised second; an idle round is one query
_ROUND = 256  # listings asked about in one round: bounds a query, and a round's time


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `submit --json`. Times are seconds from sending until the store and the indexer have the listing."""

    listing_id: str | None
    status: Status
    stored_s: float | None = None
    searchable_s: float | None = None


class Indexed(NamedTuple):
    """Event times of a listing in UTC microseconds. 0 means none."""

    held: int
    """The newest that a search can find."""
    removed: int
    """Of the removal, or of the event without photos, that an index has carried out. An index that holds nothing may
    just not have come so far."""


class IndexView:
    """Asks the indexers about a listing over HTTP."""

    def __init__(self, urls: Callable[[], list[str]]) -> None:
        self._urls = urls

    def of(self, listing_id: str) -> Indexed:
        """What the indexers hold of a listing. Raises OSError if one does not answer."""
        held = removed = 0
        for url in self._urls():
            status, body = Http(url).request("GET", f"/v1/listings/{quote(listing_id, safe='')}")
            if status == 200:
                held = max(held, int(body["event_time"]))
            elif status == 404:
                removed = max(removed, int((body or {}).get("removed_at") or 0))
            else:
                raise ConnectionError(f"{url} answered {status}")
        return Indexed(held, removed)


def indexer_urls(home: Home, configured: Iterable[str], store: Store) -> list[str]:
    """The URLs of the configured indexers. If there are none, those of this home's indexers; with several epochs, those
    of the epoch in force. Raises ConnectionError if there are none at all."""
    urls = every_indexer(home, configured)
    record = read_record(store) if len(urls) > 1 else None
    if record is not None:
        urls = [url for url in urls if epoch_of(url) == record.epochs.active]
    if not urls:
        raise ConnectionError("no indexer runs on this home")
    return urls


@dataclass(slots=True)
class _Pending:
    """What is kept of an event after it was sent. Its photos are not kept."""

    order: Order
    sent: float
    letters: set[str] = field(default_factory=set)
    """Its photos whose dead letter was read."""
    stored_s: float | None = None
    status: StoredStatus = "complete"


class Tracker:
    """Follows sent events to their outcomes. An outcome is reported only when everything that it stands for can be
    read.

    So a dead or partial listing waits for its dead letters, which are written after its rows. Not thread-safe.
    """

    def __init__(self, store: Store, admin: StreamAdmin, index: IndexView, give_up_s: float) -> None:
        """`give_up_s`: after this many seconds without progress it gives up. Dead letters are read from the present end
        of their topic."""
        self._store = store
        self._admin = admin
        self._index = index
        self._give_up_s = give_up_s
        self._letters = admin.end_offsets(DEAD_LETTERS)
        self._pending: dict[str, _Pending] = {}
        self._stored: dict[str, _Pending] = {}
        self._by_digest: dict[bytes, str] = {}
        self._undecodable: dict[bytes, list[str | None]] = defaultdict(list)
        self._moved = time.monotonic()
        self._next = 0.0

    def __len__(self) -> int:
        return len(self._pending) + len(self._stored) + sum(map(len, self._undecodable.values()))

    def sent(self, item: Outgoing) -> None:
        """Begin to follow a sent message."""
        self._moved = time.monotonic()
        digest = hashlib.sha256(item.value).digest()
        event = item.event
        if event is None:
            self._undecodable[digest].append(item.listing_id)
            return
        known = self._pending.get(event.listing_id) or self._stored.get(event.listing_id)
        order = event.order
        if known is not None and known.order >= order:
            return
        self._stored.pop(event.listing_id, None)
        self._pending[event.listing_id] = _Pending(order, time.monotonic())
        self._by_digest[digest] = event.listing_id

    def poll(self) -> list[Outcome]:
        """Ask once, at most every `POLL_S` seconds. Returns the new outcomes."""
        if time.monotonic() < self._next or not len(self):
            return []
        settled: list[Outcome] = []
        for step in (self._read_letters, self._read_store, self._read_index):
            try:
                for outcome in step():
                    settled.append(outcome)
            except (Transient, OSError):
                continue  # the store is busy or an indexer is being restarted: the next round asks again
        now = time.monotonic()
        self._next = now + POLL_S
        if settled:
            self._moved = now
        elif now - self._moved > self._give_up_s:
            settled = self._give_up()
        return settled

    def drain(self) -> Iterable[Outcome]:
        """Yield outcomes until every listing has one."""
        while len(self):
            yield from self.poll()
            time.sleep(POLL_S / 5)

    def _give_up(self) -> list[Outcome]:
        left = {**self._pending, **self._stored}.items()
        lost = [name for names in self._undecodable.values() for name in names]
        self._pending.clear()
        self._stored.clear()
        self._undecodable.clear()
        return [
            *(Outcome(listing_id=name, status="timeout", stored_s=entry.stored_s) for name, entry in left),
            *(Outcome(listing_id=name, status="timeout") for name in lost),
        ]

    def _read_letters(self) -> Iterable[Outcome]:
        for record in self._admin.read(DEAD_LETTERS, self._letters):
            self._letters[record.partition] = record.next_offset
            digest = hashlib.sha256(record.value or b"").digest()
            if self._undecodable.get(digest):
                yield Outcome(listing_id=self._undecodable[digest].pop(), status="dead")
                continue
            listing_id = self._by_digest.get(digest, "")
            entry = self._pending.get(listing_id)
            if entry is None:
                continue
            self._moved = time.monotonic()
            image_id = _image_of(record)
            if image_id is None:
                del self._pending[listing_id]
                yield Outcome(listing_id=listing_id, status="dead")
            else:
                entry.letters.add(image_id)

    def _read_store(self) -> Iterable[Outcome]:
        ids = list(islice(self._pending, _ROUND))
        newest = self._store.latest(ids) if ids else {}
        ours = [i for i in ids if i in newest and newest[i].order >= self._pending[i].order]
        rows = self._store.get(ours) if ours else {}
        for listing_id in ids:
            entry = self._pending.pop(listing_id)
            outcome = self._stored_as(entry, newest.get(listing_id), rows.get(listing_id))
            if outcome == "waiting":  # moves to the end, so that the next round asks about others first
                self._pending[listing_id] = entry
            elif outcome == "stored":
                self._stored[listing_id] = entry
            else:
                yield Outcome(listing_id=listing_id, status=outcome)

    def _stored_as(
        self, entry: _Pending, newest: Latest | None, row: StoredListing | RemovalMarker | None
    ) -> Literal["waiting", "stored", "superseded", "dead"]:
        if newest is None or newest.order < entry.order:
            return "waiting"
        if newest.order > entry.order:
            return "superseded"
        if entry.stored_s is None:
            entry.stored_s = round(time.monotonic() - entry.sent, 3)
            self._moved = time.monotonic()
        if not isinstance(row, StoredListing):
            return "stored"
        if not _with_letters(row.summary.bad_images) <= entry.letters:
            return "waiting"
        entry.status = row.summary.status
        return "dead" if row.summary.status == "dead" else "stored"

    def _read_index(self) -> Iterable[Outcome]:
        for listing_id, entry in list(islice(self._stored.items(), _ROUND)):
            indexed = self._index.of(listing_id)
            event_time, removed, _ = entry.order
            gone = indexed.held == 0 and indexed.removed >= event_time
            leaves = removed or entry.status == "empty"
            if (gone or indexed.held > event_time) if leaves else (indexed.held >= event_time):
                del self._stored[listing_id]
                seconds = round(time.monotonic() - entry.sent, 3)
                status: Status = "removed" if removed else _OUTCOMES.get(entry.status, "searchable")
                yield Outcome(listing_id=listing_id, status=status, stored_s=entry.stored_s, searchable_s=seconds)


def _with_letters(bad: Iterable[BadImage]) -> set[str]:
    """The photos that have a dead letter of their own. Those beyond the photos that are used share the first one's."""
    named: dict[str, str] = {}
    for image in bad:
        named.setdefault(SURPLUS if image.error == SURPLUS else image.image_id, image.image_id)
    return set(named.values())


def _image_of(record: Record) -> str | None:
    """The photo of a dead letter. None if it is about the whole event, or if its headers cannot be read."""
    try:
        return parse_dead_letter(record.headers).image_id
    except msgspec.ValidationError:
        return None
