"""Moves the inline photos of an event to the store, if the event is too large for a retry topic, and back again.

A reference `groknet-blob:SHA256` replaces the data of a photo. The reference is a hash of the photo's content, so
moving the photos back restores exactly the same event. Its digest stays the same, and so does its place among the
events of its listing.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import msgspec

from schemas.envelope import Headers, header
from schemas.errors import Invalid
from schemas.event_dialects import NotUnderstood, plain_event

HEADER = "groknet.photos"
_IN_STORE = "store"
_SCHEME = "groknet-blob:"


def are_moved(headers: Headers) -> bool:
    """Whether the headers say that the photos of the event are in the store."""
    return header(headers, HEADER) == _IN_STORE


def move_out(value: bytes, keep: Callable[[bytes], str]) -> bytes | None:
    """The event with a reference in place of each inline photo; None if it has no inline photo.

    `keep` stores one photo and returns its SHA-256 in hex. Unknown fields stay unchanged. An
    event in a dialect (`schemas/event_dialects.py`) is written as the schema says. Raises what `keep` raises.
    """
    event = _decoded(value)
    moved = False
    for image in event.get("images", ()) if isinstance(event, dict) else ():
        data = _inline(image)
        if data is not None:
            del image["data"]
            image["url"] = _SCHEME + keep(data)
            moved = True
    return msgspec.json.encode(event) if moved else None


def move_back(value: bytes, blob: Callable[[str], bytes | None]) -> bytes:
    """The event with its photos inline again. Raises Invalid if the store has lost a photo, and what `blob` raises."""
    event = _decoded(value)
    for image in event.get("images", ()) if isinstance(event, dict) else ():
        url = image.get("url") if isinstance(image, dict) else None
        if not isinstance(url, str) or not url.startswith(_SCHEME):
            continue
        data = blob(url.removeprefix(_SCHEME))
        if data is None:
            text = f"images[{image.get('image_id')}]: the store no longer has this photo; send the event again"
            raise Invalid("decode", "photo_gone", text)
        del image["url"]
        image["data"] = base64.b64encode(data).decode()
    return msgspec.json.encode(event)


def marked(headers: Headers) -> Headers:
    """The headers of an event whose photos have been moved."""
    return (*(pair for pair in headers if pair[0] != HEADER), (HEADER, _IN_STORE.encode()))


def _decoded(value: bytes) -> Any:
    """The fields of the event, with each inline photo as bytes; None if it is no event that can be read."""
    try:
        return plain_event(value)
    except (NotUnderstood, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # decoding it as an event reports what is wrong


def _inline(image: Any) -> bytes | None:
    data = image.get("data") if isinstance(image, dict) else None
    return data if isinstance(data, bytes) else None
