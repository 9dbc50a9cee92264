"""Events as other software writes them: what is harmless is taken, and what is refused comes with the remedy."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidEvent
from schemas.events import ListingEvent, Price, decode_event, encode_event

NOW_US = 1_767_225_600_000_000
T = NOW_US - 999_999
PHOTO = bytes(range(256))
PLAIN = base64.b64encode(PHOTO).decode()


def event(**fields: Any) -> dict[str, Any]:
    image = {"image_id": "1", "data": PLAIN}
    return {"event_id": "e", "listing_id": "l", "event_time": T, "type": "created", "images": [image]} | fields


def decoded(fields: Any) -> ListingEvent:
    return decode_event(fields if isinstance(fields, bytes) else json.dumps(fields).encode(), NOW_US)


def refused(fields: Any) -> str:
    with pytest.raises(InvalidEvent) as caught:
        decoded(fields)
    return caught.value.message


DATA = {
    "data URL": f"data:image/jpeg;base64,{PLAIN}",
    "data URL with a parameter": f"DATA:image/jpeg;name=a.jpg;base64,{PLAIN}",
    "percent-encoded data URL": f"data:image/jpeg;base64,{PLAIN.replace('+', '%2B').replace('/', '%2F')}",
    "line ends of MIME": base64.encodebytes(PHOTO).decode().replace("\n", "\r\n"),
    "URL-safe": base64.urlsafe_b64encode(PHOTO).decode(),
    "URL-safe without padding": base64.urlsafe_b64encode(PHOTO).decode().rstrip("="),
    "without padding": PLAIN.rstrip("="),
    "with spaces around it": f"  {PLAIN} ",
}


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_base64_is_read_in_its_dialects(data: str) -> None:
    canonical = decoded(event())
    assert decoded(event(images=[{"image_id": "1", "data": data}])) == canonical
    assert canonical.images[0].data == PHOTO


def test_a_data_url_is_read_as_a_url_too_short_or_long() -> None:
    for photo in (b"x", bytes(10_000)):
        url = f"data:image/png;base64,{base64.b64encode(photo).decode()}"
        image = decoded(event(images=[{"image_id": "1", "url": url}])).images[0]
        assert (image.url, image.data) == (None, photo)


@given(st.binary(max_size=100), st.booleans(), st.booleans(), st.integers(1, 80))
def test_every_dialect_of_base64_gives_the_same_photo(photo: bytes, safe: bool, padded: bool, width: int) -> None:
    text = (base64.urlsafe_b64encode if safe else base64.b64encode)(photo).decode()
    text = text if padded else text.rstrip("=")
    text = "\n".join(text[i : i + width] for i in range(0, len(text), width)) + "\n"
    assert decoded(event(images=[{"image_id": "1", "data": text}])).images[0].data == photo


TIMES = {
    "2025-12-31T23:59:59.000001Z": T,
    "2025-12-31t23:59:59.000001z": T,
    "2025-12-31 23:59:59.000001Z": T,
    "2026-01-01T00:59:59.000001+01:00": T,
    "2025-12-31T23:59:59.0000019Z": T,
    str(T): T,
    f" {T} ": T,
}


@pytest.mark.parametrize(("text", "us"), TIMES.items())
def test_a_time_is_read_from_text(text: str, us: int) -> None:
    assert decoded(event(event_time=text)).event_time == us


def test_a_whole_number_with_an_exponent_is_a_time() -> None:
    assert decoded(event(event_time=float(T))).event_time == T


UNITS = {
    1_767_225_599: "seconds",
    "1767225599": "seconds",
    1_767_225_599.25: "seconds",
    1_767_225_599_000: "milliseconds",
    "1767225599000": "milliseconds",
    1_767_225_599_000_000_000: "nanoseconds",
}


@pytest.mark.parametrize(("time", "unit"), UNITS.items())
def test_another_unit_is_named(time: Any, unit: str) -> None:
    text = refused(event(event_time=time))
    assert text.startswith(f"event_time: {str(time).strip()} is in {unit}; give UTC microseconds")


@pytest.mark.parametrize("time", [1, 946_684_799_999_999, 4_102_444_800_000_000_0, "2026-01-01T00:00:00", "yesterday"])
def test_a_time_that_cannot_be_is_refused_with_the_remedy(time: Any) -> None:
    assert "give UTC microseconds since 1970, or RFC 3339 text" in refused(event(event_time=time))


def test_an_edit_and_a_removal_of_the_second_of_the_creation_come_after_it() -> None:
    """Shops that keep whole seconds give all three one time. Finer times stay as they are."""
    second = NOW_US - 1_000_000
    kinds = ("created", "updated", "removed")
    events = [decoded(event(type=kind, event_time=second, title=f"{kind} now")) for kind in kinds]
    assert [e.event_time - second for e in events] == [0, 1, 2]
    assert sorted(events, key=lambda e: e.order) == events
    assert [decoded(encode_event(e)).event_time for e in events] == [e.event_time for e in events]
    assert {decoded(event(type=kind, event_time=second + 5)).event_time for kind in kinds} == {second + 5}


def cloud_event(**fields: Any) -> dict[str, Any]:
    head = {"specversion": "1.0", "id": "1", "source": "/shop", "type": "groknet.listing.v1"}
    return {**head, "datacontenttype": "application/json", **fields}


def test_a_cloud_event_in_structured_mode_is_unwrapped() -> None:
    plain = decoded(event())
    encoded = base64.b64encode(json.dumps(event()).encode()).decode()
    assert decoded(cloud_event(data=event())) == plain
    assert decoded(cloud_event(data=json.dumps(event()))) == plain
    assert decoded(cloud_event(data_base64=encoded)) == plain
    assert "data: a list in a CloudEvent" in refused(cloud_event(data=[event()]))


def test_a_byte_order_mark_is_no_part_of_an_event() -> None:
    assert decoded(b"\xef\xbb\xbf" + json.dumps(event()).encode()) == decoded(event())


def test_null_is_no_value_of_an_optional_field() -> None:
    assert decoded(event(state=None, producer=None, price=None, seller_id=None, title=None)) == decoded(event())


def test_seller_and_price_are_part_of_the_state() -> None:
    priced = decoded(event(seller_id="s/1", price={"amount": "12.50", "currency": "eur"}))
    assert (priced.seller_id, priced.price) == ("s/1", Price(amount="12.50", currency="EUR"))
    assert len({priced.digest, decoded(event()).digest, decoded(event(seller_id="s/1")).digest}) == 3
    assert decoded(encode_event(priced)) == priced


def test_the_digest_of_an_event_without_seller_and_price_is_the_one_of_earlier_versions() -> None:
    """Stores keep it, and compare it with that of an event that comes again."""
    image = {"image_id": "1", "url": "https://photos.example/1.jpg"}
    assert decoded(event(images=[image])).digest == "a4b3f4d707670b79af5e04dddcade3b2"


def test_a_listing_may_have_no_photos_but_must_say_so() -> None:
    assert decoded(event(type="updated", images=[])).images == []
    assert decoded(event(images=[])).images == []
    without = {name: value for name, value in event().items() if name != "images"}
    assert 'write "images": [] if it has none' in refused(without)
    assert 'write "images": [] if it has none' in refused(event(images=None))
    assert decoded({**without, "type": "removed"}).removed
    assert b'"images":[]' in encode_event(decoded(event(images=[])))


def test_photos_beyond_the_twentieth_are_named_and_not_used() -> None:
    many = decoded(event(images=[{"image_id": str(n), "url": f"https://a.example/{n}"} for n in range(23)]))
    assert [image.image_id for image in many.used_images] == [str(n) for n in range(20)]
    assert [image.image_id for image in many.surplus_images] == ["20", "21", "22"]


REFUSED: dict[str, tuple[Any, str]] = {
    "number as listing id": (event(listing_id=4711), 'listing_id: 4711 is a number; write it as text: "4711"'),
    "number as seller id": (event(seller_id=7), 'seller_id: 7 is a number; write it as text: "7"'),
    "number as event id": (event(event_id=7), 'event_id: 7 is a number; write it as text: "7"'),
    "number as image id": (
        event(images=[{"image_id": 1, "url": "https://a.example"}]),
        "images[0].image_id: 1 is a num",
    ),
    "address without an object": (event(images=["https://a.example"]), "images[0]: text; write an object such as"),
    "one object": (event(images={"image_id": "1"}), "images: an object; write a list of objects"),
    "a Buffer of Node.js": (
        event(images=[{"image_id": "1", "data": {"type": "Buffer", "data": [1]}}]),
        "images[1].data: an object; write base64 text, in Node.js buffer.toString('base64')",
    ),
    "no base64": (event(images=[{"image_id": "1", "data": "a photo!"}]), "images[1].data: not base64; encode"),
    "data URL of text": (
        event(images=[{"image_id": "1", "data": "data:,hello"}]),
        "images[1].data: a data: URL without",
    ),
    "amount as number": (
        event(price={"amount": 12.5, "currency": "EUR"}),
        "text in the currency's main unit, such as \"",
    ),
    "amount with a comma": (event(price={"amount": "12,50", "currency": "EUR"}), "price.amount: "),
    "currency sign": (event(price={"amount": "1", "currency": "€"}), "three letters of ISO 4217, such as EUR"),
    "price as text": (event(price="12.50 EUR"), 'price: not an object; write {"amount": "12.50", "currency": "EUR"}'),
    "unknown type": (event(type="sold"), "write created, updated or removed"),
    "no listing id": ({"event_id": "e"}, "listing_id: missing; write 1 to 128 characters"),
    "array": ([event(), event()], "the event is a JSON array of 2; send each item as a message of its own"),
    "text in text": (json.dumps(event()), "the event is JSON inside JSON text; encode it once"),
    "gzip": (gzip.compress(b"{}"), "the event is compressed with gzip; send the JSON itself"),
    "UTF-16": (json.dumps(event()).encode("utf-16"), "the event is UTF-16; encode it as UTF-8"),
    "two documents": (json.dumps(event()).encode() * 2, "the event is not JSON"),
    "nothing": (b" \n", "the event is empty"),
}


@pytest.mark.parametrize(("fields", "text"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_says_the_field_and_the_remedy(fields: Any, text: str) -> None:
    assert text in refused(fields)
