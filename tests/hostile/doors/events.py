"""Listing events as bytes from a stream: spoilt ones, wrong types, values at and beyond every bound."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from schemas.errors import InvalidEvent
from schemas.events import decode_event, encode_event
from tests.hostile.case import Input, spoilt

REFUSALS = (InvalidEvent,)
MOST_MB = 300
NOW_US = 1_800_000_000_000_000
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**63,
    10**400,
    1e308,
    "",
    "\0",
    "\x1b[2J",
    "\u202e",
    "x" * 200_000,
    "../../etc/passwd",
    [],
    {},
    [[]] * 1000,
    {"a": {"b": {}}},
)


def event(**changes: Any) -> dict[str, Any]:
    """An honest event, with changes."""
    photo = {"image_id": "1", "data": base64.b64encode(b"photo").decode()}
    return {"event_id": "e", "listing_id": "mug", "event_time": NOW_US, "type": "created", "images": [photo]} | changes


def honest(folder: Path) -> None:
    """An honest event is understood."""
    found = decode_event(json.dumps(event(title="Mug")).encode(), NOW_US)
    assert (found.listing_id, found.title, found.images[0].data) == ("mug", "Mug", b"photo")


def inputs(rng: Random, folder: Path) -> Iterator[Input]:
    """Whatever is taken can be written and read again as the same event."""
    whole = json.dumps(event(category="a", title="b", producer="c")).encode()
    while True:
        kind = rng.choice(("field", "photo field", "spoilt", "deep", "many photos", "twice", "encoding"))
        if kind == "field":
            name = rng.choice([*event(), "title", "category", "state", "producer", "schema_version", "unknown"])
            value = json.dumps(event(**{name: rng.choice(ODD)})).encode()
            kind = f"field {name}"
        elif kind == "photo field":
            name = rng.choice(("image_id", "url", "data"))
            value = json.dumps(event(images=[{"image_id": "1", name: rng.choice(ODD)}])).encode()
        elif kind == "spoilt":
            kind, value = spoilt(whole, rng)
        elif kind == "deep":
            depth = rng.choice((100, 10_000, 1_000_000))
            value = rng.choice((b"[", b'{"images":')) * depth
        elif kind == "many photos":
            value = json.dumps(event(images=event()["images"] * rng.choice((21, 1000, 20_000)))).encode()
        elif kind == "twice":
            value = whole[:-1] + b', "event_time": ' + str(rng.choice((1, 2**62, 2**64))).encode() + b"}"
        else:
            value = whole.decode().encode(rng.choice(("utf-16", "utf-32", "utf-8-sig")))
        yield Input(f"{kind}, {len(value)} bytes", lambda value=value: _offer(value))


def _offer(value: bytes) -> None:
    found = decode_event(value, NOW_US)
    assert decode_event(encode_event(found), NOW_US) == found
    assert found.event_time <= NOW_US + 300_000_000
    assert 1 <= len(found.listing_id) <= 128
