"""Listing events: each message carries the whole state of one listing, as the marketplace knows it.

We use msgspec and not pydantic, because it decodes and checks types and bounds in one pass in C (microseconds an event,
which is the Python budget of the stream path), writes JSON Schema itself, and is one small wheel without dependencies.
"""

from __future__ import annotations

import hashlib
import time
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, structs

from schemas import event_dialects, event_times
from schemas.errors import InvalidEvent

SCHEMA_VERSION = 1
EVENT_TYPE = "groknet.listing.v1"
MAX_AHEAD_US = 5 * 60 * 1_000_000  # an event far in the future would win for ever
MAX_IMAGES = 20
"""So many photos of a listing are used: the first ones that its event names."""
MAX_NAMED_IMAGES = 1000
"""An event that names more photos is refused."""
SURPLUS = "too_many_images"
"""The error of the photos beyond the first 20, in the summary and in their one dead letter."""
MAX_INLINE_BYTES = 700_000  # Kafka's default message limit is 1 MB
EXPIRED_SCHEME = "groknet-expired:"
"""What a stored event has instead of an inline photo that the store no longer keeps: this, then the photo's SHA-256."""

ListingId = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:/-]+$")]
ImageId = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:/-]+$")]
SellerId = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:/-]+$")]
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


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What the seller asks for. The amount is exact decimal text in the currency's main unit, such as 12.50."""

    amount: Annotated[str, Meta(max_length=32, pattern=r"^(0|[1-9][0-9]{0,17})(\.[0-9]{1,8})?$")]
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$", description="ISO 4217 code")]

    def __post_init__(self) -> None:
        _check_end("price.amount", self.amount)
        _check_end("price.currency", self.currency)


def _no_images() -> list[ImageRef]:
    """The default of `images`. Because it is a function of ours, msgspec writes an empty list instead of leaving it
    out: a reader can then tell a listing without photos from a sender that misspelt the field."""
    return []


class ListingEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, dict=True):
    """The whole state of a listing at `event_time`. `removed` carries no images. Unknown fields are ignored.

    A listing without photos has `images: []`. Of more than 20 images the first 20 are used."""

    event_id: Annotated[str, Meta(min_length=1, max_length=128)]
    listing_id: ListingId
    event_time: EventTime
    type: Literal["created", "updated", "removed"]
    images: Annotated[list[ImageRef], Meta(max_length=MAX_NAMED_IMAGES)] = msgspec.field(default_factory=_no_images)
    category: Annotated[str, Meta(max_length=256)] | None = None
    title: Annotated[str, Meta(max_length=1024)] | None = None
    state: Annotated[str, Meta(max_length=64)] = "active"
    producer: Annotated[str, Meta(max_length=128)] = "unknown"
    schema_version: int = SCHEMA_VERSION
    seller_id: SellerId | None = None
    """An opaque id of the seller. Nothing reads a name or an address out of it."""
    price: Price | None = None

    def __post_init__(self) -> None:
        _check_end("listing_id", self.listing_id)
        if self.seller_id is not None:
            _check_end("seller_id", self.seller_id)
        ids = [image.image_id for image in self.images]
        if len(set(ids)) != len(ids):
            raise ValueError("images: two images share one image_id; ids are unique within a listing")
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(f"schema_version: {self.schema_version} is not {SCHEMA_VERSION}; upgrade this worker")

    @property
    def removed(self) -> bool:
        """Whether this event removes the listing."""
        return self.type == "removed"

    @property
    def used_images(self) -> list[ImageRef]:
        """The images that are fetched and tagged: the first 20."""
        return self.images[:MAX_IMAGES]

    @property
    def surplus_images(self) -> list[ImageRef]:
        """The images beyond the first 20. They are named in the summary, and nothing else is done with them."""
        return self.images[MAX_IMAGES:]

    @cached_property  # it is compared many times, and inline photos are up to 700 KB
    def digest(self) -> str:
        """A hex digest of the event's state. Producer and event id do not count."""
        state: tuple[Any, ...] = (self.type, self.category, self.title, self.state)
        if self.seller_id is not None or self.price is not None:  # events of older senders keep their digest
            state = (*state, self.seller_id, self.price)
        images = [(i.image_id, i.url, i.data) for i in self.images]
        return hashlib.sha256(msgspec.msgpack.encode((state, images))).hexdigest()[:32]

    @property
    def order(self) -> tuple[int, bool, str]:
        """The order of one listing's events: by time; at one time a removal wins, then the larger digest."""
        return self.event_time, self.removed, self.digest


def without_inline_photos(event: ListingEvent) -> ListingEvent:
    """The event with an address `groknet-expired:SHA256` in place of each inline photo. Nothing can fetch it.

    The digest, and so the place among the events of the listing, stay those of the whole event. Returns the event
    itself if it has no inline photo.
    """
    if all(image.data is None for image in event.images):
        return event
    bare = [
        image
        if image.data is None
        else ImageRef(image_id=image.image_id, url=EXPIRED_SCHEME + hashlib.sha256(image.data).hexdigest())
        for image in event.images
    ]
    return with_digest(structs.replace(event, images=bare), event.digest)


def with_digest(event: ListingEvent, digest: str) -> ListingEvent:
    """The same event. Its digest is the given one from now on: that of the whole event, if this is what is left of it
    (`without_inline_photos`). An event that has lost no photo keeps the digest of its state."""
    if any((image.url or "").startswith(EXPIRED_SCHEME) for image in event.images):
        event.__dict__["digest"] = digest  # where `cached_property` keeps it
    return event


_decoder = msgspec.json.Decoder(ListingEvent)
_encoder = msgspec.json.Encoder()


class _Images(msgspec.Struct):
    """Whether an event says anything about its images."""

    images: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def encode_event(event: ListingEvent) -> bytes:
    """Return the JSON bytes of an event."""
    return _encoder.encode(event)


def decode_event(value: bytes | None, now_us: int | None = None) -> ListingEvent:
    """Decode and check one event. The usual dialects of senders are understood (`schemas/event_dialects.py`).

    An event that is dated to a whole second and is an update counts 1 µs later, a removal 2 µs later, so that a
    creation, an edit and a removal of the same second keep this order.

    Raises:
        InvalidEvent: not JSON, a field out of bounds, a time in another unit than microseconds, or more than 5 minutes
            ahead of `now_us`. The message names the field and the remedy.
    """
    if value is None:
        raise InvalidEvent("decode", "empty_event", "the event has no value; to remove a listing send type 'removed'")
    value = value.removeprefix(event_dialects.BOM)
    try:
        event = _decoder.decode(value)
        if any((image.url or "")[:5].lower() == "data:" for image in event.images):
            event = _from_dialect(value)
        elif (
            not event.images and not event.removed and msgspec.json.decode(value, type=_Images).images is msgspec.UNSET
        ):
            raise InvalidEvent("decode", "invalid_field", _NO_IMAGES_FIELD)
    except msgspec.ValidationError:
        event = _from_dialect(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEvent("decode", "undecodable", event_dialects.not_json(value, str(error))) from None
    now = time.time_ns() // 1000 if now_us is None else now_us
    unit = event_times.wrong_unit(event.event_time, now)
    if unit is not None:
        raise InvalidEvent("decode", "event_time_unit", unit)
    if event.event_time > now + MAX_AHEAD_US:
        ahead = (event.event_time - now) // 1_000_000
        text = f"event_time: {ahead} s ahead of the clock, at most 300; give UTC microseconds"
        raise InvalidEvent("decode", "event_time_in_future", text)
    at = event_times.within_its_second(event.event_time, event.type)
    return event if at == event.event_time else structs.replace(event, event_time=at)


_NO_IMAGES_FIELD = (
    'images: missing; name the photos of the listing, or write "images": [] if it has none. An event carries the whole '
    "state"
)


def _from_dialect(value: bytes) -> ListingEvent:
    """Decode an event that is not written exactly as the schema says. Raises InvalidEvent."""
    try:
        fields = event_dialects.plain_event(value)
        event = msgspec.convert(fields, ListingEvent)
    except event_dialects.NotUnderstood as error:
        raise InvalidEvent("decode", "invalid_field", str(error)) from None
    except msgspec.ValidationError as error:
        raise InvalidEvent("decode", "invalid_field", event_dialects.with_remedy(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEvent("decode", "undecodable", event_dialects.not_json(value, str(error))) from None
    if not event.images and not event.removed and "images" not in fields:
        raise InvalidEvent("decode", "invalid_field", _NO_IMAGES_FIELD)
    return event
