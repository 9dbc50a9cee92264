"""Finds out where one listing is: what the store and the index have, and every event of it that is still on the way.

It reads only the uncommitted records and the dead letters, so its time is proportional to the backlog.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Literal
from urllib.parse import quote

import msgspec

from groknet.diagnosis.lag import uncommitted
from groknet.home.config import Loaded
from groknet.home.epochs import every_indexer
from groknet.home.paths import Home
from groknet.home.running import Http
from groknet.home.taggers import running_taggers
from groknet.submitting.dead_letters import Letter, read_letters
from groknet.submitting.outcomes import IndexView, indexer_urls
from schemas.envelope import header
from schemas.errors import InvalidEvent, Transient
from schemas.events import decode_event
from schemas.predictions import StoredListing
from schemas.topics import DEAD_LETTERS, RETRY_DELAYS_S, UPLOADED
from workers.stages.failures import RETRY_ERROR, attempt_of, due_ms
from workers.stores import Store, build_store
from workers.streams import Record, Stream, StreamAdmin, build_stream

Progress = Callable[[str], None]


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What the store has. Times are UTC microseconds."""

    status: Literal["complete", "partial", "dead", "empty", "removed"]
    event_time: int
    model_version: str | None = None
    stored_at: int | None = None


class Indexed(msgspec.Struct, frozen=True, kw_only=True):
    """What the indexers hold. Event times are in UTC microseconds; 0 means none."""

    held: int
    removed: int


class InHand(msgspec.Struct, frozen=True, kw_only=True):
    """An event that a tagger is working on. `since` is in UTC seconds. `why` says what it waits for, if it waits."""

    topic: str
    partition: int
    offset: int
    stage: str
    since: float
    attempt: int = 1
    why: str | None = None
    tagger: str = ""


class _InHandAnswer(msgspec.Struct):
    events: list[InHand]


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """An event in a topic that no tagger of this home has in hand. `since` and `due` are in UTC seconds."""

    topic: str
    partition: int
    offset: int
    since: float
    before: int
    """Events that come before it in its partition."""
    attempt: int
    event_time: int | None
    """None if the event cannot be read."""
    why: str | None = None
    """For a retry: the stage and the error of its last failure."""
    due: float | None = None
    """For a retry: when it is tried next."""
    done: bool = False
    """The store has this event or a newer one: only its commit is missing."""


class Dead(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter. `at` is in UTC seconds. `id` is the one that `groknet dlq list` prints."""

    id: str
    at: float
    stage: str
    error: str
    message: str
    image_id: str | None
    event_time: int | None
    """The time of its event; None if it cannot be read."""
    replayable: bool
    replayed: bool


class Whereabouts(msgspec.Struct, kw_only=True):
    """Everything that is known about a listing."""

    listing_id: str
    stored: Stored | None = None
    indexed: Indexed | None = None
    in_hand: list[InHand] = []
    waiting: list[Waiting] = []
    """The newest last, topic by topic."""
    dead: list[Dead] = []
    """Oldest first."""
    unknown: dict[str, str] = {}
    """Which of the store, the index and the stream could not be asked, and why."""

    @property
    def known(self) -> bool:
        """True if anything is known about it."""
        held = self.indexed is not None and (self.indexed.held > 0 or self.indexed.removed > 0)
        return held or self.stored is not None or bool(self.in_hand or self.waiting or self.dead)


def find(loaded: Loaded, listing_id: str, progress: Progress) -> Whereabouts:
    """Ask the store, the indexers, the taggers and the stream. Those that do not answer are named in `unknown`. Raises
    ConfigError."""
    found = Whereabouts(listing_id=listing_id)
    configured = loaded.config.search.indexer_urls
    try:
        with closing(build_store(loaded.config.store.url)) as store:
            found.stored = _stored(store, listing_id)
            _ask_index(found, lambda: indexer_urls(loaded.home, configured, store))
    except Transient as why:
        found.unknown["store"] = why.message
        _ask_index(found, lambda: every_indexer(loaded.home, configured))
    found.in_hand = list(_in_hand(loaded.home, listing_id))
    try:
        _read_stream(build_stream(loaded.config.stream.url, "where"), found, progress)
    except Transient as why:
        found.unknown["stream"] = why.message
    return found


def _ask_index(found: Whereabouts, urls: Callable[[], list[str]]) -> None:
    try:
        index = IndexView(urls).of(found.listing_id)
        found.indexed = Indexed(held=index.held, removed=index.removed)
    except OSError as why:
        found.unknown["index"] = str(why)


def _stored(store: Store, listing_id: str) -> Stored | None:
    entry = store.get([listing_id]).get(listing_id)
    if entry is None:
        return None
    if not isinstance(entry, StoredListing):
        return Stored(status="removed", event_time=entry.event_time)
    return Stored(
        status=entry.summary.status,
        event_time=entry.event_time,
        model_version=entry.model_version,
        stored_at=entry.stored_at,
    )


def _in_hand(home: Home, listing_id: str) -> Iterator[InHand]:
    """The events of a listing that the taggers of a home have in hand. A tagger that does not answer is skipped;
    `groknet doctor` reports it."""
    for name, running in running_taggers(home).items():
        try:
            path = f"/v1/in-hand?listing_id={quote(listing_id, safe='')}"
            status, body = Http(running.url, 5.0).request("GET", path)
            events = msgspec.convert(body, _InHandAnswer).events if status == 200 else []
        except (OSError, msgspec.ValidationError):
            continue
        yield from (msgspec.structs.replace(event, tagger=name) for event in events)


def _read_stream(stream: Stream, found: Whereabouts, progress: Progress) -> None:
    with closing(stream.admin()) as admin:
        present = admin.topics()
        for topic in (UPLOADED, *RETRY_DELAYS_S):
            if topic in present:
                found.waiting += _waiting(admin, topic, found, progress)
    if DEAD_LETTERS in present:
        letters = (letter for letter in read_letters(stream) if _is_of(letter, found.listing_id))
        found.dead = [_dead(letter) for letter in letters]


def _waiting(admin: StreamAdmin, topic: str, found: Whereabouts, progress: Progress) -> Iterator[Waiting]:
    """The uncommitted records of a listing in a topic that are not in hand."""
    spans = uncommitted(admin, topic)
    total = sum(end - first for first, end in spans.values())
    in_hand = {(event.topic, event.partition, event.offset) for event in found.in_hand}
    start = admin.end_offsets(topic) | {partition: first for partition, (first, _) in spans.items()}
    for read, record in enumerate(admin.read(topic, start) if spans else ()):
        progress(f"{read} of {total} uncommitted records of {topic} read")
        place = (topic, record.partition.number, record.offset)
        if record.partition not in spans or place in in_hand or not _is_about(record, found.listing_id):
            continue
        due, event_time = due_ms(record), _read(record).event_time
        yield Waiting(
            topic=topic,
            partition=record.partition.number,
            offset=record.offset,
            since=record.timestamp_ms / 1000,
            before=max(0, record.offset - spans[record.partition][0]),
            attempt=attempt_of(record),
            event_time=event_time or None,
            why=header(record.headers, RETRY_ERROR),
            due=due / 1000 if due else None,
            done=found.stored is not None and 0 < event_time <= found.stored.event_time,
        )


class _Named(msgspec.Struct):
    """The ids and times in an event, even if the rest of it is wrong."""

    listing_id: str = ""
    event_time: int = 0


_named = msgspec.json.Decoder(_Named)


def _read(record: Record) -> _Named:
    """What can be read of an event; empty where nothing can. An event in a dialect is decoded as the tagger does."""
    try:
        named = _named.decode(record.value or b"")
        if named.listing_id:
            return named
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        event = decode_event(record.value)
    except InvalidEvent:
        return _Named()
    return _Named(event.listing_id, event.event_time)


def _is_about(record: Record, listing_id: str) -> bool:
    """Whether a record belongs to the listing. Its key says so, or its value if the producer set no key."""
    if record.key is not None:
        return record.key == listing_id.encode()
    return _read(record).listing_id == listing_id


def _is_of(letter: Letter, listing_id: str) -> bool:
    named = letter.listing_id
    return named == listing_id if named is not None else _is_about(letter.record, listing_id)


def _dead(letter: Letter) -> Dead:
    why, record = letter.why, letter.record
    return Dead(
        id=letter.id,
        at=(record.timestamp_ms if why is None else why.failed_at_ms) / 1000,
        stage="?" if why is None else why.stage,
        error="?" if why is None else why.error,
        message="its headers cannot be read" if why is None else why.message,
        image_id=None if why is None else why.image_id,
        event_time=_read(record).event_time or None,
        replayable=why is None or why.replayable != "no",
        replayed=letter.replayed,
    )


class Patience:
    """Reports how far a reading has come: when it begins to take long, and then from time to time."""

    def __init__(self, say: Callable[[str], None], first_s: float = 2.0, every_s: float = 5.0) -> None:
        self._say, self._every_s = say, every_s
        self._next = time.monotonic() + first_s

    def __call__(self, text: str) -> None:
        """Call this for each step. `text` says how far the reading has come."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every_s
            self._say(text)
