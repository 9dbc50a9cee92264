"""Occasions: listings that were together once, in a cart, in a view or in a scene. Keyed by the occasion's id."""

from __future__ import annotations

import time
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from schemas import event_times
from schemas.errors import InvalidEvent
from schemas.events import MAX_AHEAD_US, EventTime, ListingId

OCCASION_TYPE = "groknet.occasion.v1"
MAX_TOGETHER = 100
"""The most listings of one occasion. A longer list says little about each pair, and costs its square."""
MAX_OCCASION_BYTES = 16_384
"""100 ids of 128 characters, with room for the rest."""

OccasionId = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:/-]+$")]
OccasionKind = Literal["cart", "view", "scene"]


class Occasion(msgspec.Struct, frozen=True, kw_only=True):
    """Listings that were together once: bought (`cart`), looked at in one visit (`view`), or seen in one photo
    (`scene`). It replaces an earlier occasion of the same id that is not newer. Unknown fields are ignored, and nothing
    says whose cart or visit it was."""

    occasion_id: OccasionId
    kind: OccasionKind
    listing_ids: Annotated[list[ListingId], Meta(min_length=2, max_length=MAX_TOGETHER)]
    event_time: EventTime

    def __post_init__(self) -> None:
        for field, value in (("occasion_id", self.occasion_id), *(("listing_ids", one) for one in self.listing_ids)):
            if value.endswith("\n"):
                raise ValueError(f"{field}: ends with a line break; leave it out")
        if len(set(self.listing_ids)) != len(self.listing_ids):
            raise ValueError("listing_ids: one listing is named twice; name each once")


_decoder = msgspec.json.Decoder(Occasion)
_encoder = msgspec.json.Encoder()


def encode_occasion(occasion: Occasion) -> bytes:
    """Return the JSON bytes of an occasion."""
    return _encoder.encode(occasion)


def decode_occasion(value: bytes, now_us: int | None = None) -> Occasion:
    """Decode and check one occasion.

    Raises:
        InvalidEvent: not JSON, a field out of bounds, a time before 2000 (another unit) or more than 5 minutes ahead of
            the clock; the message names the field. `now_us` is the clock, in UTC microseconds.
    """
    if len(value) > MAX_OCCASION_BYTES:
        text = f"{len(value)} bytes; an occasion has at most {MAX_OCCASION_BYTES}"
        raise InvalidEvent("together", "too_large", text)
    try:
        occasion = _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEvent("together", "invalid_occasion", str(error)) from None
    now = time.time_ns() // 1000 if now_us is None else now_us
    wrong = event_times.wrong_unit(occasion.event_time, now)
    if wrong is None and occasion.event_time > now + MAX_AHEAD_US:
        wrong = "event_time: more than 5 minutes ahead of the clock; give the time at which it happened"
    if wrong is not None:
        raise InvalidEvent("together", "event_time", wrong)
    return occasion
