"""Products: listings of one thing, under one id. The rows of the store, and the message of a listing's product.

A *founder* is the listing that an id stays with. The id of a product is made of its first founder, and of the time from
which that listing is known, so that the same listings give the same id again. `workers.products` says which id wins.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

import msgspec
from msgspec import Meta

from schemas.errors import InvalidEvent
from schemas.events import EventTime, ListingId

PRODUCT_TYPE = "groknet.product.v1"

ProductId = Annotated[str, Meta(pattern=r"^p-[0-9a-f]{20}$", description="opaque; 80 bits of a SHA-256")]


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """A product in the store. `founded` (UTC microseconds) is the time of its first listing. `founder` is the listing
    that its id stays with when it is divided. `survivor`: the id is an alias of this older product; None if it is
    not."""

    product_id: ProductId
    founded: EventTime
    founder: ListingId
    survivor: ProductId | None = None


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """The product of a listing in the store. `since` (UTC microseconds) is the first event time at which the listing
    was seen with a photo."""

    listing_id: ListingId
    product_id: ProductId
    since: EventTime


class ProductMessage(msgspec.Struct, frozen=True, kw_only=True):
    """The product of a listing, and when that product was founded (UTC microseconds). It replaces earlier messages of
    the listing. A listing that was removed, or has no photo any more, gets a tombstone."""

    listing_id: ListingId
    product_id: ProductId
    founded: EventTime


def first_id(listing_id: str, since: int) -> str:
    """The id of the product that a listing founds. `since`: see `Membership`."""
    return "p-" + hashlib.sha256(f"{since} {listing_id}".encode()).hexdigest()[:20]


_decoder = msgspec.json.Decoder(ProductMessage)
_encoder = msgspec.json.Encoder()


def encode_product(message: ProductMessage) -> bytes:
    """Return the JSON bytes of a message."""
    return _encoder.encode(message)


def decode_product(value: bytes) -> ProductMessage:
    """Decode a message. Raises InvalidEvent, whose message names the field."""
    try:
        return _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidEvent("products", "invalid_product_message", str(error)) from None
