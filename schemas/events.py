"""Listing events: each message carries the whole state of one listing, as the marketplace knows it.

We use msgspec and not pydantic, because it decodes and checks types and bounds in one pass in C (microseconds an event,
which is the Python budget of the stream path), writes JSON Schema itself, and is one small wheel without dependencies.
"""

from __future__ import annotations

import hashlib
import time
from functools import cached_property
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas.errors import InvalidEvent

SCHEMA_VERSION = 1
EVENT_TYPE = "groknet.listing.v1"
MAX_AHEAD_US = 5 * 60 * 1_000_000  # an event far in the future would win for ever
MAX_IMAGES = 20
MAX_INLINE_BYTES = 700_000  # Kafka's default message limit is 1 MB

ListingId = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:/-]+$")]
ImageId = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:/-]+$")]
EventTime = Annotated[int, Meta(ge=1, le=2**62, description="UTC, microseconds since 1970")]


def _check_end(field: str, value: str) -> None:
    """Refuse a line break at the end, before which Python's `$` also matches and JSON Schema's does not."""
    if value.endswith("\n"):
        raise ValueError(f"{field}: ends with a line break; leave it out")


class ImageRef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One photo of a listing: exactly one of `url` (https:// or file://) and `data` (base64 on the wire)."""

    image_id: ImageId
    url: Annotated[str, Meta(max_length=4096)] | None = None
    data: bytes | None = None

    def __post_init__(self) -> None:
        _check_end("image_id", self.image_id)
        if (self.url is None) == (self.data is None):
            raise ValueError(f"images[{self.image_id}]: give exactly one of url and data")
        if self.data is not None and len(self.data) > MAX_INLINE_BYTES:
            raise ValueError(f"images[{self.image_id}].data: at most {MAX_INLINE_BYTES} bytes inline; use a url")


class ListingEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """The whole state of a listing at `event_time`. `removed` carries no images. Unknown fields are ignored."""

    event_id: Annotated[str, Meta(min_length=1, max_length=128)]
    listing_id: ListingId
    event_time: EventTime
    type: Literal["created", "updated", "removed"]
    images: Annotated[list[ImageRef], Meta(max_length=MAX_IMAGES)] = []
    category: Annotated[str, Meta(max_length=256)] | None = None
    title: Annotated[str, Meta(max_length=1024)] | None = None
    state: Annotated[str, Meta(max_length=64)] = "active"
    producer: Annotated[str, Meta(max_length=128)] = "unknown"
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        _check_end("listing_id", self.listing_id)
        if self.type != "removed" and not self.images:
            raise ValueError("images: a created or updated listing needs at least one image")
        ids = [image.image_id for image in self.images]
        if len(set(ids)) != len(ids):
            raise ValueError("images: two images share one image_id; ids are unique within a listing")
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(f"schema_version: {self.schema_version} is not {SCHEMA_VERSION}; upgrade this worker")

    @property
    def removed(self) -> bool:
        """Whether this event removes the listing."""
        return self.type == "removed"

    @cached_property  # it is compared many times, and inline photos are up to 700 KB
    def digest(self) -> str:
        """A hex digest of the event's state. Producer and event id do not count."""
        state = (self.type, self.category, self.title, self.state)
        images = [(i.image_id, i.url, i.data) for i in self.images]
        return hashlib.sha256(msgspec.msgpack.encode((state, images))).hexdigest()[:32]

    @property
    def order(self) -> tuple[int, bool, str]:
        """The order of one listing's events: by time; at one time a removal wins, then the larger digest."""
        return self.event_time, self.removed, self.digest


_decoder = msgspec.json.Decoder(ListingEvent)
_encoder = msgspec.json.Encoder()


def encode_event(event: ListingEvent) -> bytes:
    """Return the JSON bytes of an event."""
    return _encoder.encode(event)


def decode_event(value: bytes | None, now_us: int | None = None) -> ListingEvent:
    """Decode and check one event.

    Raises:
        InvalidEvent: not JSON, a field out of bounds (the message names it), or more than 5 minutes ahead of `now_us`.
    """
    if value is None:
        raise InvalidEvent("decode", "empty_event", "the event has no value; to remove a listing send type 'removed'")
    try:
        event = _decoder.decode(value)
    except msgspec.ValidationError as error:
        raise InvalidEvent("decode", "invalid_field", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEvent("decode", "undecodable", f"the event is not JSON: {error}") from None
    now = time.time_ns() // 1000 if now_us is None else now_us
    if event.event_time > now + MAX_AHEAD_US:
        ahead = (event.event_time - now) // 1_000_000
        text = f"event_time: {ahead} s ahead of the clock, at most 300; give UTC microseconds"
        raise InvalidEvent("decode", "event_time_in_future", text)
    return event
