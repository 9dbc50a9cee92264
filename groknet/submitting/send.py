"""Sends events to the stream unchanged. It slows down when the stream asks for it, and reports durable events."""

from __future__ import annotations

import time
from dataclasses import dataclass

import msgspec

from schemas.envelope import Headers, cloud_event_headers
from schemas.errors import InvalidEvent, Reject
from schemas.events import EVENT_TYPE, ListingEvent, decode_event, encode_event
from schemas.occasions import OCCASION_TYPE, Occasion, encode_occasion
from schemas.topics import TOGETHER, UPLOADED
from workers import tracing
from workers.streams.base import Delivery, Producer

SOURCE = "/groknet/submit"
_FLUSH_EVERY = 200  # unconfirmed deliveries at once; this limits memory, and an error shows within as many events
_FLUSH_S = 60.0  # a broker's own delivery time-out is 30 s or less
_MAX_PAUSE_S = 1.0
_MAX_DATE_US = 253_370_764_800 * 1_000_000  # the year 9999, because ce_time is a calendar date


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to send. If it cannot be decoded, `event` is None and `problem` says why."""

    value: bytes
    listing_id: str | None
    event: ListingEvent | None
    problem: str = ""


class Sender:
    """Sends to `listings.uploaded` and `listings.together`. It waits while the stream rejects records."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._pending: list[Delivery] = []

    def send(self, item: Outgoing) -> None:
        """Queue one message. Raises Transient if the stream does not answer."""
        key = None if item.listing_id is None else item.listing_id.encode()
        event = item.event
        headers = cloud_event_headers(
            type_=EVENT_TYPE,
            source=SOURCE,
            key=item.listing_id or "",
            event_id=event.event_id if event else None,
            time_us=event.event_time if event and event.event_time < _MAX_DATE_US else None,
        )
        self._queue(UPLOADED, key, item.value, tracing.sending(UPLOADED, headers))

    def send_occasion(self, occasion: Occasion) -> None:
        """Queue one occasion for `listings.together`. Raises Transient if the stream does not answer."""
        key = occasion.occasion_id
        headers = cloud_event_headers(
            type_=OCCASION_TYPE, source=SOURCE, key=key, event_id=key, time_us=occasion.event_time
        )
        self._queue(TOGETHER, key.encode(), encode_occasion(occasion), headers)

    def _queue(self, topic: str, key: bytes | None, value: bytes, headers: Headers) -> None:
        pause = 0.01
        while True:
            try:
                self._pending.append(self._producer.send(topic, key, value, headers))
                break
            except Reject:
                time.sleep(pause)
                pause = min(2 * pause, _MAX_PAUSE_S)
        if len(self._pending) >= _FLUSH_EVERY:
            self.flush()

    def flush(self) -> None:
        """Return once everything that was sent is durable. Raises Transient otherwise."""
        deadline = time.monotonic() + _FLUSH_S
        for delivery in self._pending:
            delivery.wait(max(0.0, deadline - time.monotonic()))
        self._pending.clear()


def outgoing(event: ListingEvent) -> Outgoing:
    """An event of ours, checked as a tagger would check it."""
    return checked(encode_event(event))


def checked(value: bytes) -> Outgoing:
    """The bytes of an event, decoded as a tagger does."""
    try:
        event = decode_event(value)
    except InvalidEvent as error:
        return Outgoing(value, _name_in(value), None, error.message)
    return Outgoing(value, event.listing_id, event)


class _Name(msgspec.Struct):
    listing_id: str


def _name_in(value: bytes) -> str | None:
    """The listing id in an event that is otherwise wrong, so that its dead letter can be found."""
    try:
        return msgspec.json.decode(value, type=_Name).listing_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
