"""Occasions on the wire: they come back as they went, and nothing odd gets through."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidEvent
from schemas.occasions import MAX_OCCASION_BYTES, Occasion, decode_occasion, encode_occasion
from tests.schemas.wire import NOW_US, ids

GOOD = {"occasion_id": "o", "kind": "cart", "listing_ids": ["a", "b"], "event_time": NOW_US}


@given(
    st.builds(
        Occasion,
        occasion_id=ids,
        kind=st.sampled_from(["cart", "view", "scene"]),
        listing_ids=st.lists(ids, min_size=2, max_size=8, unique=True),
        event_time=st.integers(NOW_US - 10**14, NOW_US),
    )
)
def test_occasions_round_trip(occasion: Occasion) -> None:
    assert decode_occasion(encode_occasion(occasion), NOW_US) == occasion


def test_the_largest_occasion_fits() -> None:
    largest = GOOD | {"occasion_id": "o" * 128, "listing_ids": [f"{i:03}" + "x" * 125 for i in range(100)]}
    assert len(decode_occasion(msgspec.json.encode(largest), NOW_US).listing_ids) == 100


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"kind": "wish"}, "kind"),
        ({"listing_ids": ["a"]}, "listing_ids"),
        ({"listing_ids": ["a", "a"]}, "twice"),
        ({"listing_ids": [f"l{i}" for i in range(101)]}, "listing_ids"),
        ({"listing_ids": ["a", "b c"]}, "listing_ids"),
        ({"listing_ids": ["a", "b\n"]}, "listing_ids"),
        ({"occasion_id": ""}, "occasion_id"),
        ({"event_time": NOW_US // 1_000_000}, "seconds"),
        ({"event_time": NOW_US + 10 * 60 * 1_000_000}, "5 minutes"),
        ({"event_time": "soon"}, "event_time"),
        ({"more": "x" * MAX_OCCASION_BYTES}, "bytes"),
    ],
)
def test_what_is_out_of_bounds_is_refused_with_the_field(changed: dict, word: str) -> None:
    with pytest.raises(InvalidEvent, match=word):
        decode_occasion(msgspec.json.encode(GOOD | changed), NOW_US)


@given(st.binary(max_size=100))
def test_whatever_arrives_is_an_occasion_or_invalid(value: bytes) -> None:
    with pytest.raises(InvalidEvent):
        decode_occasion(value, NOW_US)


def test_unknown_fields_are_ignored() -> None:
    assert decode_occasion(msgspec.json.encode(GOOD | {"shop": 4}), NOW_US).kind == "cart"
