"""Reads listing events as other software writes them, and names the remedy where that is not possible.

Understood: a byte-order mark, CloudEvents in structured mode, base64 as `data:` URLs, with line ends, URL-safe or
without padding, times as RFC 3339 text or as digits in text, currencies in lower case, and null for an optional field.
Refused with the remedy: numbers as ids or as amounts, JSON arrays, JSON inside JSON text, compressed or UTF-16 bytes.

The decoder of `schemas/events.py` comes here only with an event that is not written exactly as the schema says, so that
the usual event costs nothing more.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from typing import Any
from urllib.parse import unquote

import msgspec

from schemas import event_times

BOM = codecs.BOM_UTF8
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_GZIP = b"\x1f\x8b"
_URL_SAFE = str.maketrans("-_", "+/")
_MAY_BE_NULL = ("images", "state", "producer", "schema_version")  # null says nothing: the field is left out
_TEXTS = ("event_id", "listing_id", "seller_id")
_SHOWN = 40
_MISSING = re.compile(r"Object missing required field `(\w+)`")
_OURS = re.compile(r"[a-z_]+(\[|\.|:)")
_ID = "1 to 128 characters of A-Z a-z 0-9 . _ : / - as text"
_REMEDIES = {
    "event_id": "1 to 128 characters of text, a new one for each event",
    "listing_id": _ID,
    "image_id": _ID,
    "seller_id": _ID,
    "event_time": event_times.REMEDY.removeprefix("give "),
    "type": "created, updated or removed",
    "images": "a list of at most 1000 objects with image_id and url or data",
    "url": "a https:// address of at most 4096 characters",
    "data": "the photo's bytes as base64 text",
    "amount": 'exact decimal text in the currency\'s main unit, such as "12.50"',
    "currency": "the three letters of ISO 4217, such as EUR",
    "category": "text of at most 256 characters",
    "title": "text of at most 1024 characters",
    "state": "text of at most 64 characters",
    "producer": "text of at most 128 characters",
    "schema_version": "1",
}


class NotUnderstood(ValueError):
    """A field is written in a way that cannot be read with certainty. The text names the field and the remedy."""


def plain_event(value: bytes) -> dict[str, Any]:
    """The fields of one event, written as the schema says. Photos are bytes; unknown fields stay.

    Raises:
        NotUnderstood: what is wrong, and how to write it.
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: not JSON.
    """
    fields = _unwrapped(msgspec.json.decode(value.removeprefix(BOM)))
    fields = {name: part for name, part in fields.items() if part is not None or name not in _MAY_BE_NULL}
    for name in _TEXTS:
        _refuse_number(name, fields.get(name))
    if "event_time" in fields:
        fields["event_time"] = _event_time(fields["event_time"])
    if isinstance(fields.get("price"), dict):
        fields["price"] = _price(fields["price"])
    elif fields.get("price") is not None:
        raise NotUnderstood('price: not an object; write {"amount": "12.50", "currency": "EUR"}')
    images = fields.get("images")
    if isinstance(images, list):
        fields["images"] = [_image(number, image) for number, image in enumerate(images)]
    elif images is not None:
        raise NotUnderstood(f"images: {_kind(images)}; write a list of objects with image_id and url or data")
    return fields


def not_json(value: bytes, error: str) -> str:
    """Why bytes are no JSON, with the remedy where they are something known."""
    if value.startswith(_GZIP):
        return "the event is compressed with gzip; send the JSON itself and let the stream compress it"
    if value.startswith(_UTF16):
        return "the event is UTF-16; encode it as UTF-8"
    if not value.strip():
        return "the event is empty; to remove a listing send type 'removed'"
    return f"the event is not JSON: {error}; send one JSON object in UTF-8"


def with_remedy(error: str) -> str:
    """The text of a msgspec.ValidationError with the field first and what to write there."""
    what, _, path = error.partition(" - at `$")
    if _OURS.match(what):  # a check of ours, which names its field
        return what
    field = path.rstrip("`").lstrip(".")
    if missing := _MISSING.match(what):
        field = f"{field}.{missing[1]}".lstrip(".")
        what = "missing"
    remedy = _REMEDIES.get(field.rpartition(".")[2])
    if not field:
        return f"{what}; {remedy}" if remedy else what
    return f"{field}: {what}" + (f"; write {remedy}" if remedy else "")


def photo_bytes(text: str, field: str) -> bytes:
    """The bytes of base64 text in any usual dialect. Raises NotUnderstood naming `field`."""
    if text[:5].lower() == "data:":
        head, _, text = text.partition(",")
        if not head.rstrip().lower().endswith(";base64"):
            raise NotUnderstood(f"{field}: a data: URL without base64; write data:image/jpeg;base64, and the base64")
        text = unquote(text) if "%" in text else text
    plain = "".join(text.split()).rstrip("=").translate(_URL_SAFE)
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):  # a ValueError says that it holds letters that are not ASCII
        raise NotUnderstood(f"{field}: not base64; encode the photo's bytes as base64, or send a url") from None


def _unwrapped(event: Any) -> dict[str, Any]:
    """The fields of an event, taken out of a CloudEvent in structured mode."""
    if isinstance(event, dict) and "specversion" in event and ("data" in event or "data_base64" in event):
        event = _cloud_event_data(event)
    if isinstance(event, list):
        raise NotUnderstood(f"the event is a JSON array of {len(event)}; send each item as a message of its own")
    if isinstance(event, str) and event.lstrip()[:1] in ("{", "["):
        raise NotUnderstood("the event is JSON inside JSON text; encode it once")
    if not isinstance(event, dict):
        raise NotUnderstood(f"the event is {_kind(event)}; send a JSON object")
    return event


def _cloud_event_data(envelope: dict[str, Any]) -> Any:
    data = envelope.get("data")
    if data is None and isinstance(envelope.get("data_base64"), str):
        return msgspec.json.decode(photo_bytes(envelope["data_base64"], "data_base64").removeprefix(BOM))
    if isinstance(data, str) and data.lstrip()[:1] == "{":  # the data of a CloudEvent may be JSON text
        return msgspec.json.decode(data)
    if not isinstance(data, dict):
        raise NotUnderstood(f"data: {_kind(data)} in a CloudEvent; put the listing event there as a JSON object")
    return data


def _event_time(time: Any) -> Any:
    try:
        if isinstance(time, str):
            return event_times.from_text(time)
        if isinstance(time, float):
            return event_times.from_number(time)
    except event_times.NotATime as why:
        raise NotUnderstood(str(why)) from None
    return time


def _price(price: dict[str, Any]) -> dict[str, Any]:
    amount, currency = price.get("amount"), price.get("currency")
    if isinstance(amount, (int, float)):
        text = "amounts are exact decimal text in the currency's main unit"
        raise NotUnderstood(f'price.amount: {_kind(amount)}; {text}, such as "12.50"')
    if isinstance(currency, str) and currency.isascii():
        return {**price, "currency": currency.strip().upper()}
    return price


def _image(number: int, image: Any) -> Any:
    """One entry of `images`, with its inline photo as bytes."""
    if isinstance(image, str):
        remedy = '{"image_id": "1", "url": "https://..."}'
        raise NotUnderstood(f"images[{number}]: text; write an object such as {remedy}")
    if not isinstance(image, dict):
        return image
    name = image.get("image_id")
    _refuse_number(f"images[{number}].image_id", name)
    field = f"images[{name[:_SHOWN] if isinstance(name, str) else number}]"
    data, url = image.get("data"), image.get("url")
    if isinstance(data, str):
        return {**image, "data": photo_bytes(data, f"{field}.data")}
    if data is None and isinstance(url, str) and url[:5].lower() == "data:":
        return {**image, "url": None, "data": photo_bytes(url, f"{field}.url")}
    if isinstance(data, dict):  # what JSON.stringify makes of a Buffer of Node.js
        raise NotUnderstood(f"{field}.data: an object; write base64 text, in Node.js buffer.toString('base64')")
    return image


def _refuse_number(field: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return
    shown = str(value)[:_SHOWN]
    raise NotUnderstood(f'{field}: {shown} is a number; write it as text: "{shown}"')


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    return "text" if isinstance(value, str) else "a list" if isinstance(value, list) else "an object"
