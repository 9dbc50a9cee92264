"""How much of the store an epoch holds: compares its compacted topic with a scan of the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from schemas.envelope import header
from schemas.errors import InvalidEvent
from schemas.hashes import EVENT_TIME_HEADER, decode_hashes
from schemas.predictions import RemovalMarker, StoredListing
from schemas.topics import hash_topic
from workers.stores import Store
from workers.streams import StreamAdmin

State = StoredListing | RemovalMarker


@dataclass(frozen=True, slots=True)
class Coverage:
    """The number of listings. `wanted`: in the store with a good photo. `covered`: those of them that the epoch's topic
    has, at least as new. `gone`: removed from the store, but not from the topic."""

    wanted: int
    covered: int
    gone: int

    @property
    def share(self) -> float:
        """The covered share, 0 to 1; 1 for an empty store. A removed listing that is still in the topic lowers it."""
        listings = self.wanted + self.gone
        return self.covered / listings if listings else 1.0


def held_by(admin: StreamAdmin, epoch: str) -> dict[str, int]:
    """The listings for which an epoch's topic has hashes, each with the event time of its newest message. An index that
    reads the topic holds the same. A message that an index refuses does not count."""
    held: dict[str, int] = {}
    removed: dict[str, int] = {}
    topic = hash_topic(epoch)
    if topic not in admin.topics():
        return held
    for record in admin.read(topic):
        listing_id = (record.key or b"").decode("ascii", "replace")
        if record.value is None:
            text = header(record.headers, EVENT_TIME_HEADER) or ""
            event_time = int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else 0
            if event_time >= max(held.get(listing_id, 1), removed.get(listing_id, 0)):
                held.pop(listing_id, None)
                removed[listing_id] = event_time
            continue
        try:
            message = decode_hashes(record.value)
        except InvalidEvent:
            continue
        known = max(held.get(listing_id, 0), removed.get(listing_id, 0) + 1)
        if (message.epoch, message.listing_id) == (epoch, listing_id) and message.event_time >= known:
            held[listing_id] = message.event_time
            removed.pop(listing_id, None)
    return held


def lacking(store: Store, held: dict[str, int]) -> Iterator[State]:
    """The states that a back-fill has to publish, in the order of listing ids: listings that the topic lacks or has an
    older state of, and removals that the topic lacks."""
    for state in store.scan():
        if isinstance(state, RemovalMarker):
            if state.listing_id in held:
                yield state
        elif held.get(state.listing_id, 0) < state.event_time:
            yield state


def measure(store: Store, admin: StreamAdmin, epoch: str, before: int | None = None) -> Coverage:
    """Read the whole topic and the whole store, and count. A listing whose photos are all bad is not wanted, because a
    search cannot find it.

    `before`: a time in UTC µs. A listing that was stored later and is not in the topic is left out.
    """
    held = held_by(admin, epoch)
    wanted = covered = gone = 0
    for state in store.scan():
        if isinstance(state, RemovalMarker):
            gone += state.listing_id in held
        elif state.images:
            there = held.get(state.listing_id, 0) >= state.event_time
            covered += there
            wanted += there or before is None or state.stored_at < before
    return Coverage(wanted, covered, gone)
