"""What the retry topics and the dead-letter topic may hold: only what is wrong with one event, and never whole what
does not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from schemas.dead_letters import parse_dead_letter
from schemas.envelope import header
from schemas.events import ListingEvent, decode_event, encode_event
from schemas.topics import DEAD_LETTERS, RETRY_DELAYS_S, UPLOADED
from tests.faults.large import TOPIC_TAKES
from tests.faults.oracle import Verdict
from tests.faults.poison import is_poison
from workers.streams.base import Record, StreamAdmin

_ERROR = "groknet.retry.error"  # `stage: error` of the failure that sent a record to a retry topic
_REPLAYABLE = "groknet.dlq.replayable"  # of a dead letter that is cut: no


def judge_retries(events: Iterable[ListingEvent], admin: StreamAdmin, verdict: Verdict) -> None:
    """An event on a retry topic needs a photo by URL that could not be fetched; anything else is a finding."""
    may = {event.event_id for event in events if any(ref.url for ref in event.images)}
    for topic in RETRY_DELAYS_S:
        for record in admin.read(topic):
            why = header(record.headers, _ERROR) or ""
            event = decode_event(record.value)
            if event.event_id not in may or not why.startswith("fetch: "):
                verdict.flood.append(f"{topic}: {event.listing_id}: {why}")


def judge_large(events: Iterable[ListingEvent], admin: StreamAdmin, verdict: Verdict) -> None:
    """The broken photo of an event that is too large has one dead letter. Straight from the live topic it is cut and
    says so; from a retry topic it may be whole, since a retry names its photos by reference."""
    large = {e.listing_id: encode_event(e) for e in events if any(is_poison(ref.data) for ref in e.images)}
    large = {name: value for name, value in large.items() if len(value) > TOPIC_TAKES}
    if not large:
        return
    counts: Counter[str] = Counter()
    for record in admin.read(DEAD_LETTERS):
        letter = parse_dead_letter(record.headers)
        name = letter.listing_id or ""
        if name not in large:
            continue
        counts[name] += 1
        if letter.topic == UPLOADED:
            verdict.wrong += [f"dead letter: {name}: {text}" for text in _uncut(record, large[name])]
    verdict.extra += [f"dead letter: {name}: {count} times" for name, count in counts.items() if count > 1]


def _uncut(record: Record, sent: bytes) -> list[str]:
    """What is wrong with a letter that had to be cut."""
    if len(record.value or b"") >= len(sent):
        return ["is as large as the event, which does not fit"]
    said = header(record.headers, _REPLAYABLE)
    return [] if said == "no" else [f"is cut, and {_REPLAYABLE} is {said!r}, not 'no'"]
