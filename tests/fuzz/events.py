"""Fuzzes the decoder of events: `python -m tests.fuzz.events --seconds 600`.

Inputs are events of all dialects with fields of wrong kinds and bytes changed. Whatever comes in, the decoder gives an
event or refuses it as InvalidEvent with a message. An event that it takes stays the same when it is encoded and decoded
again, and when its photos move to the store and back. An input that breaks this is written to `seeds/events`, and
`test_events.py` tries all inputs there again.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from schemas.errors import InvalidEvent
from schemas.event_times import FIRST_US
from schemas.events import MAX_AHEAD_US, MAX_NAMED_IMAGES, ListingEvent, decode_event, encode_event
from workers.stages.moved_photos import move_back, move_out

SEEDS = Path(__file__).with_name("seeds") / "events"
NOW_US = 1_767_225_600_000_000
_ROUND = 500  # inputs between two looks at the clock
_MUTANTS = 20  # variants of each input
_TOKENS = (
    b"null",
    b"0",
    b"1e999",
    b'""',
    b"[]",
    b"{}",
    b"\\u0000",
    b"\xed\xa0\x80",
    b"\n",
    b'"data":"',
    b"specversion",
)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    2**64,
    "",
    "x",
    "a/b",
    "1",
    "AAAA",
    "AA",
    "data:;base64,AAAA",
    [],
    {},
)
_VALUES += (
    NOW_US - 5,
    str(NOW_US - 5),
    "2025-06-01T00:00:00Z",
    NOW_US // 1000,
    "removed",
    "updated",
    "EUR",
    "eur",
    "0.5",
)
_CODES = {"empty_event", "undecodable", "invalid_field", "event_time_unit", "event_time_in_future"}

_ids = st.text("abZ09._:/-", min_size=1, max_size=20) | st.sampled_from(
    ["-x", "a/similar", "x" * 128, "x" * 129, "a\n"]
)
_times = (
    st.integers(FIRST_US - 5, NOW_US + 2 * MAX_AHEAD_US)
    | st.sampled_from([NOW_US, NOW_US // 1000, NOW_US // 10**6, NOW_US * 1000, 0, -1, 2**63, 2**64, 1.7e9, 1e300])
    | st.sampled_from(["2025-12-31T23:59:59Z", "2025-12-31t23:59:59.1234567-23:59", "9999-12-31T23:59:59-23:59"])
    | st.sampled_from(["0001-01-01T00:00:00+23:59", "2016-12-31T23:59:60Z", "now", "", "1" * 5000])
    | st.integers(0, 2**64).map(str)
)
_photos = st.binary(max_size=40).map(lambda photo: base64.b64encode(photo).decode())


@st.composite
def _data(draw: st.DrawFn) -> str:
    """Base64 in one of its dialects, or nearly."""
    text = draw(_photos)
    match draw(st.integers(0, 5)):
        case 0:
            return f"data:image/png;base64,{text}"
        case 1:
            return text.rstrip("=").replace("+", "-").replace("/", "_")
        case 2:
            return "\r\n".join(text[i : i + 7] for i in range(0, len(text), 7))
        case 3:
            return draw(st.text(max_size=20))
        case 4:
            return "data:" + draw(st.text(";,=%base64/", max_size=20)) + text
    return text


_odd = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=3,
)
_urls = st.sampled_from(["https://a.example/1.jpg", "", "data:;base64,AAAA", "DATA:,x", "groknet-blob:00", "x" * 4097])
_images = (
    st.fixed_dictionaries({"image_id": _ids, "data": _data()})
    | st.fixed_dictionaries({"image_id": _ids, "url": _urls | _data()})
    | st.fixed_dictionaries({"image_id": _ids | _odd}, optional={"url": _urls | _odd, "data": _data() | _odd})
)
_prices = st.fixed_dictionaries(
    {"amount": st.sampled_from(["12.50", "0", "01", "-1", "1e3", "1\n", "9" * 40]) | _odd},
    optional={"currency": st.sampled_from(["EUR", "eur", " usd ", "\u20ac", "EURO", "EUR\n"]) | _odd},
)
_events: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "event_id": st.text(min_size=1, max_size=8) | _odd,
        "listing_id": _ids | _odd,
        "event_time": _times | _odd,
        "type": st.sampled_from(["created", "updated", "removed"]) | _odd,
    },
    optional={
        "images": st.lists(_images, max_size=4) | st.lists(_images, min_size=18, max_size=23) | _odd,
        "title": st.text(max_size=8) | _odd,
        "category": st.text(max_size=8) | _odd,
        "state": st.text(max_size=8) | _odd,
        "producer": st.text(max_size=8) | _odd,
        "seller_id": _ids | _odd,
        "price": _prices | _odd,
        "schema_version": st.sampled_from([1, 2, "1"]) | _odd,
        "unknown": _odd,
    },
)


@st.composite
def inputs(draw: st.DrawFn) -> bytes:
    """The bytes of an event, written in some way and then perhaps damaged."""
    event: Any = draw(_events)
    if draw(st.booleans()):
        event = _sound(event)
    match draw(st.integers(0, 9)):
        case 0:
            event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": event}
        case 1:
            inner = base64.b64encode(json.dumps(event).encode()).decode()
            event = {"specversion": "1.0", "data_base64": draw(st.sampled_from([inner, inner[:-1], "!"]))}
        case 2:
            nested = {"specversion": "1.0", "data": json.dumps(event)}
            event = draw(st.sampled_from([[event], json.dumps(event), nested]))
    value = json.dumps(event, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    return draw(_written(value))


@st.composite
def _written(draw: st.DrawFn, value: bytes) -> bytes:
    """The bytes of a JSON text with a mark before them, in another encoding, cut off or damaged; mostly as they are."""
    match draw(st.integers(0, 11)):
        case 0:
            return b"\xef\xbb\xbf" + value
        case 1:
            wide = value.decode("utf-8", "replace").encode("utf-16")
            return draw(st.sampled_from([gzip.compress(value, mtime=0), wide]))
        case 2:
            return value[: draw(st.integers(0, len(value)))]
        case 3 | 4:
            damaged = bytearray(value)
            for _ in range(draw(st.integers(1, 4))):
                damaged[draw(st.integers(0, len(damaged) - 1))] = draw(st.integers(0, 255))
            return bytes(damaged)
        case 5:
            return draw(st.binary(max_size=60))
    return value


def _sound(event: dict[str, Any]) -> dict[str, Any]:
    """The event with all that has to be there, and with nothing odd beside it, so that many inputs get past the first
    checks. Its photos, its price and its time are as they were drawn."""
    sound = {"event_id": "e", "listing_id": "l", "event_time": NOW_US - 1, "type": "updated"}
    if isinstance(event["event_time"], str) and event["event_time"][:2] == "20":
        sound["event_time"] = event["event_time"]
    images = event.get("images")
    photos = [image for image in images if isinstance(image, dict)] if isinstance(images, list) else []
    kept = [
        {"image_id": str(n), **{name: image[name] for name in ("url", "data") if isinstance(image.get(name), str)}}
        for n, image in enumerate(photos)
    ]
    more = {name: event[name] for name in ("unknown", "price") if isinstance(event.get(name), dict)}
    return {**sound, **more, "images": kept}


def check(value: bytes | None) -> str:
    """Decode one input and check the outcome. Returns `taken`, or the code of the refusal. Raises AssertionError."""
    refusal: InvalidEvent | None = None
    try:
        event = decode_event(value, NOW_US)
    except InvalidEvent as why:
        refusal = why
    if refusal is None:
        assert value is not None
        _check_event(event, value)
        return "taken"
    assert (refusal.stage, refusal.error in _CODES) == ("decode", True), refusal.error
    assert refusal.message.strip(), "a refusal says why"
    return refusal.error


def _check_event(event: ListingEvent, value: bytes) -> None:
    assert FIRST_US <= event.event_time <= NOW_US + MAX_AHEAD_US + 2
    assert len(event.images) <= MAX_NAMED_IMAGES
    assert len(event.used_images) <= 20
    assert [*event.used_images, *event.surplus_images] == event.images
    again = decode_event(encode_event(event), NOW_US + 2)
    assert again == event
    assert again.order == event.order
    if any((image.url or "").startswith("groknet-blob:") for image in event.images):
        return  # a sender cannot know the photos of a store; the tagger finds none under this name
    blobs: dict[str, bytes] = {}

    def keep(data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        blobs[name] = data
        return name

    moved = move_out(value, keep)
    assert (moved is None) == all(image.data is None for image in event.images)
    if moved is not None:
        assert decode_event(move_back(moved, blobs.get), NOW_US) == event


def _mutants(value: bytes, count: int) -> Iterator[bytes]:
    """Variants of an input, the same ones each time: a value inside it is replaced, or a piece of its bytes is cut out,
    doubled, moved or replaced."""
    rng = random.Random(value)
    try:
        event = json.loads(value)
    except (ValueError, RecursionError):
        event = None
    for number in range(count if value else 0):
        if number % 4 and isinstance(event, dict) and event:
            yield json.dumps(_replaced(event, rng)).encode()
            continue
        first, last = sorted(rng.randrange(len(value) + 1) for _ in range(2))
        piece = rng.choice((b"", value[first:last] * 2, rng.choice(_TOKENS), value[:first]))
        yield value[:first] + piece + value[last if rng.random() < 0.5 else first :]


def _replaced(part: Any, rng: random.Random) -> Any:
    """A copy in which one value, at any depth, is another one."""
    if isinstance(part, dict) and part and rng.random() < 0.9:
        name = rng.choice(list(part))
        if rng.random() < 0.1:
            return {other: value for other, value in part.items() if other != name}
        return {**part, name: _replaced(part[name], rng)}
    if isinstance(part, list) and part and rng.random() < 0.9:
        place = rng.randrange(len(part))
        return [*part[:place], _replaced(part[place], rng), *part[place + 1 :]]
    return rng.choice(_VALUES)


def fuzz(seconds: float, start: int = 0) -> Counter[str]:
    """Try inputs for so many seconds. Returns the number of inputs by outcome. Raises what an input caused."""
    counts: Counter[str] = Counter()
    ends, number = time.monotonic() + seconds, start
    while time.monotonic() < ends:

        @seed(number)
        @settings(
            max_examples=_ROUND,
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(inputs())
        def some(value: bytes) -> None:
            for one in (value, *_mutants(value, _MUTANTS)):
                try:
                    counts[check(one)] += 1
                except BaseException:
                    # Hypothesis tries ever smaller inputs, so that the last one that fails is the one to keep.
                    (SEEDS / "failed").write_bytes(one)
                    raise

        some()
        number += 1
    return counts


def main() -> int:
    """Fuzz for some seconds and print the counts. An input that breaks something ends it with its stack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--start", type=int, default=0, help="number of the first round; each has inputs of its own")
    options = parser.parse_args()
    began = time.monotonic()
    counts = fuzz(options.seconds, options.start)
    total = f"{counts.total()} inputs in {time.monotonic() - began:.0f} s"
    print(f"{total}: " + ", ".join(f"{count} {code}" for code, count in counts.most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
