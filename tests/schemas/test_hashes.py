"""Hash messages on the wire: they come back as they went, and nothing odd gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidEvent
from schemas.hashes import HashMessage, ImageHash, decode_hashes, encode_hashes
from tests.schemas.wire import ids, texts, times


@given(
    st.builds(
        HashMessage,
        listing_id=ids,
        event_time=times,
        epoch=st.from_regex(r"[0-9a-f]{12}", fullmatch=True),
        model_version=texts,
        state=texts,
        category=st.none() | texts,
        images=st.lists(
            st.builds(ImageHash, image_id=ids, hash=st.binary(min_size=32, max_size=32).map(bytes.hex)), max_size=4
        ),
    )
)
def test_hash_messages_round_trip(message: HashMessage) -> None:
    assert decode_hashes(encode_hashes(message)) == message


@given(st.binary(max_size=100))
def test_whatever_arrives_is_a_hash_message_or_invalid(value: bytes) -> None:
    with pytest.raises(InvalidEvent):
        decode_hashes(value)
