"""Product messages on the wire, and the id of a product."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidEvent
from schemas.products import ProductId, ProductMessage, decode_product, encode_product, first_id
from tests.schemas.wire import ids, times

names = st.from_regex(r"p-[0-9a-f]{20}", fullmatch=True)


@given(st.builds(ProductMessage, listing_id=ids, product_id=names, founded=times))
def test_product_messages_round_trip(message: ProductMessage) -> None:
    assert decode_product(encode_product(message)) == message


@given(st.binary(max_size=100))
def test_whatever_arrives_is_a_product_message_or_invalid(value: bytes) -> None:
    with pytest.raises(InvalidEvent):
        decode_product(value)


@given(ids, times)
def test_an_id_has_the_form_of_the_schema_and_needs_both_listing_and_time(listing_id: str, since: int) -> None:
    name = first_id(listing_id, since)
    assert msgspec.convert(name, ProductId) == name
    assert name != first_id(listing_id, since + 1)
    assert name != first_id(listing_id + "0", since)


def test_an_id_never_changes_between_releases() -> None:
    """Stored ids must be found again, so the digest is fixed here, by the definition in the contracts."""
    digest = hashlib.sha256(b"1767225600000000 shop-7/mug-000123").hexdigest()
    assert first_id("shop-7/mug-000123", 1_767_225_600_000_000) == f"p-{digest[:20]}"
