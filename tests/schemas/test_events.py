"""Events on the wire: they come back as they went, and nothing odd gets through."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidEvent
from schemas.events import MAX_AHEAD_US, ImageRef, ListingEvent, Price, decode_event, encode_event
from tests.schemas.wire import ALPHABET, NOW_US, ids, texts

images = st.builds(ImageRef, image_id=ids, url=texts) | st.builds(ImageRef, image_id=ids, data=st.binary(max_size=64))
lists = st.lists(images, max_size=22, unique_by=lambda image: image.image_id)
FIRST_US = 946_684_800_000_000  # 2000-01-01
times = st.integers(FIRST_US, NOW_US - 1).map(lambda at: at if at % 1_000_000 else at + 1)  # no whole second
prices = st.builds(
    Price,
    amount=st.decimals(0, 10**9, places=2).map(str),
    currency=st.from_regex(r"[A-Z]{3}", fullmatch=True),
)
common = {
    "event_id": st.text(ALPHABET, min_size=1, max_size=128),
    "listing_id": ids,
    "event_time": times,
    "category": st.none() | texts,
    "title": st.none() | texts,
    "state": texts,
    "producer": texts,
    "seller_id": st.none() | ids,
    "price": st.none() | prices,
}
events = st.builds(ListingEvent, type=st.sampled_from(["created", "updated"]), images=lists, **common) | st.builds(
    ListingEvent, type=st.just("removed"), **common
)


@given(events)
def test_events_round_trip(event: ListingEvent) -> None:
    wire = encode_event(event)
    assert decode_event(wire, NOW_US) == event
    assert encode_event(decode_event(wire, NOW_US)) == wire
    assert decode_event(wire, NOW_US).order == event.order


@given(events, events, events, st.booleans())
def test_the_order_is_total_and_by_time_then_removal_then_state(
    a: ListingEvent, b: ListingEvent, c: ListingEvent, same_time: bool
) -> None:
    if same_time:
        b = msgspec.structs.replace(b, event_time=a.event_time)
        c = msgspec.structs.replace(c, event_time=a.event_time)
    assert (a.order < b.order) + (b.order < a.order) + (a.order == b.order) == 1
    assert not (a.order < b.order < c.order) or a.order < c.order
    if a.event_time != b.event_time:
        assert (a.order < b.order) == (a.event_time < b.event_time)
    elif a.removed != b.removed:
        assert (a.order < b.order) == b.removed
    else:
        state = [(e.type, e.images, e.category, e.title, e.state, e.seller_id, e.price) for e in (a, b)]
        assert (a.order == b.order) == (state[0] == state[1])


@given(events)
def test_who_sent_an_event_does_not_change_its_order(event: ListingEvent) -> None:
    again = msgspec.structs.replace(event, event_id="another", producer="somebody else")
    assert again.order == event.order


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def _spoiled(draw: st.DrawFn) -> bytes:
    """An event with a field replaced, a byte changed, or its end cut off."""
    payload = msgspec.to_builtins(draw(events))
    match draw(st.integers(0, 2)):
        case 0:
            # json, because unlike msgspec it writes lone surrogates, NaN and huge integers
            field = draw(st.sampled_from([*payload, "images", "data"]))
            return json.dumps({**payload, field: draw(json_values)}).encode()
        case 1:
            wire = bytearray(msgspec.json.encode(payload))
            wire[draw(st.integers(0, len(wire) - 1))] = draw(st.integers(0, 255))
            return bytes(wire)
        case _:
            wire = bytearray(msgspec.json.encode(payload))
            return bytes(wire[: draw(st.integers(0, len(wire)))])


@given(st.binary(max_size=200) | _spoiled())
def test_whatever_arrives_is_an_event_or_an_invalid_event(value: bytes) -> None:
    try:
        event = decode_event(value, NOW_US)
    except InvalidEvent as error:
        reason = (error.stage, error.error, bool(error.message))
    else:
        assert decode_event(encode_event(event), NOW_US) == event
        assert len(event.digest) == 32
        return
    codes = ("invalid_field", "undecodable", "event_time_unit", "event_time_in_future")
    assert reason in [("decode", code, True) for code in codes]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "empty_event"),
        (b"", "undecodable"),
        (b"\xff\xfe", "undecodable"),
        (b"{", "undecodable"),
        (b"[" * 100_000, "undecodable"),
        (b'{"event_id":' * 100_000, "undecodable"),
        (b"null", "invalid_field"),
        (b"[]", "invalid_field"),
        (b"{}", "invalid_field"),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "undecodable"),
    ],
)
def test_hostile_events(value: bytes | None, code: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        decode_event(value, NOW_US)
    assert caught.value.error in (code, "invalid_field")


def test_an_event_of_the_future_is_refused_from_five_minutes_on() -> None:
    event = ListingEvent(event_id="a", listing_id="b", event_time=NOW_US + MAX_AHEAD_US, type="removed")
    assert decode_event(encode_event(event), NOW_US).removed
    with pytest.raises(InvalidEvent, match="300 s ahead") as caught:
        decode_event(encode_event(event), NOW_US - 1)
    assert caught.value.error == "event_time_in_future"


@pytest.mark.parametrize("field", ["listing_id", "image_id"])
def test_an_id_that_ends_with_a_line_break_is_refused(field: str) -> None:
    image = {"image_id": "a", "url": "https://photos.example/a.jpg"}
    fields = {"event_id": "a", "listing_id": "b", "event_time": 1, "type": "created", "images": [image]}
    (image if field == "image_id" else fields)[field] = "a\n"
    with pytest.raises(InvalidEvent, match=f"{field}: ends with a line break"):
        decode_event(json.dumps(fields).encode(), NOW_US)


def test_two_images_of_one_id_are_refused() -> None:
    photo = ImageRef(image_id="a", url="https://photos.example/a.jpg")
    with pytest.raises(ValueError, match="unique"):
        ListingEvent(event_id="a", listing_id="b", event_time=1, type="created", images=[photo, photo])
