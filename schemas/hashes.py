"""Hash messages: the hashes of all photos of a listing, keyed by listing, on the compacted topic of an epoch."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.boxes import BoxShares
from schemas.errors import InvalidEvent
from schemas.events import EventTime, ImageId, ListingId

HASH_BYTES = 32
HASH_TYPE = "groknet.hashes.v1"
EVENT_TIME_HEADER = "groknet.event_time"  # a tombstone has no value, so this header has its event time

HashHex = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", description="256 bits, most significant bit first")]
KeptMargins = Annotated[bytes, Meta(min_length=8 * HASH_BYTES, max_length=8 * HASH_BYTES)]
"""How sure a photo is of each bit of its hash: one signed byte a bit, in the order of the bits, of any common scale."""
KeptEmbedding = Annotated[bytes, Meta(min_length=1, max_length=4096)]
"""A photo's embedding: one signed byte for each of its numbers, of any common scale."""
Epoch = Annotated[str, Meta(pattern=r"^[0-9a-f]{12}$")]


class ImageHash(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The hash of one photo, or of the part of it inside `box`. A photo with several boxes has several hashes. Without
    `box` it is the whole photo, as in messages from before that field existed."""

    image_id: ImageId
    hash: HashHex
    box: BoxShares | None = None


class HashMessage(msgspec.Struct, frozen=True, kw_only=True):
    """All hashes of one listing as of `event_time`. It replaces earlier messages of the listing."""

    listing_id: ListingId
    event_time: EventTime
    epoch: Epoch
    model_version: str
    state: str
    category: str | None
    images: list[ImageHash]


_decoder = msgspec.json.Decoder(HashMessage)
_encoder = msgspec.json.Encoder()


def encode_hashes(message: HashMessage) -> bytes:
    """Return the JSON bytes of a hash message."""
    return _encoder.encode(message)


def decode_hashes(value: bytes) -> HashMessage:
    """Decode a hash message. Raises InvalidEvent, whose message names the field."""
    try:
        return _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidEvent("index", "invalid_hash_message", str(error)) from None
