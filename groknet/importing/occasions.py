"""Reads occasions (carts, views, scenes) from a shop's own tables: JSON lines, or CSV by occasion or by item.

A table of order lines (`order_id`, `product_id`) is the usual one. Its lines of one order follow each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from groknet.importing.opened import MAX_LINE, FeedDamaged, opened, text_of
from groknet.importing.product import LeftOut, Refused
from groknet.importing.rows import Row, rows
from schemas.errors import InvalidEvent
from schemas.event_times import NotATime, from_number, from_text
from schemas.occasions import MAX_TOGETHER, Occasion, OccasionKind, decode_occasion

_IDS = ("occasion_id", "id", "order_id", "cart_id", "session_id", "photo_id")
_TIMES = ("event_time", "time", "ordered_at", "created_at")
_LISTING = ("listing_id", "product_id", "item_id")
_SEVERAL = ("listing_ids", "listings", "items")
_SPLIT = re.compile(r"[\s;|,]+")


@dataclass(frozen=True, slots=True)
class Defaults:
    """What counts where the file says nothing: the kind, and the event time in UTC microseconds. `prefix` is put before
    each listing id."""

    kind: OccasionKind
    event_time: int
    prefix: str = ""


Read = Occasion | Refused | LeftOut


def read_occasions(path: Path, defaults: Defaults) -> Iterator[Read]:
    """The occasions of a file, and what of it cannot be used, each with its line. The file may be packed with gzip.

    A listing that is named twice counts once. An occasion of one listing says nothing, and is left out.

    Raises:
        CommandError: there is no such file, or it is a zip archive.
    """
    try:
        with opened(path) as file:
            start = file.peek(1)[:64].lstrip(b"\xef\xbb\xbf \t\r\n")
            if start.startswith(b"["):
                yield Refused("line 1", "", "a JSON array; write one occasion a line, without brackets", ends=True)
                return
            yield from _json_lines(file, defaults) if start.startswith(b"{") else _table(file, defaults)
    except FeedDamaged as error:
        yield Refused("", "", str(error), ends=True)


def _json_lines(file: BufferedReader, defaults: Defaults) -> Iterator[Read]:
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        place = f"line {number}"
        if len(line) > MAX_LINE:
            yield Refused(place, "", f"longer than {MAX_LINE} bytes; write one occasion a line", ends=True)
            return
        text = line.removeprefix(b"\xef\xbb\xbf").strip()
        if not text:
            continue
        try:
            fields = msgspec.json.decode(text, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            yield Refused(place, "", f"no JSON object ({error}); write one occasion a line")
            continue
        yield _occasion(place, fields, defaults)


def _table(file: BufferedReader, defaults: Defaults) -> Iterator[Read]:
    """One line an occasion if a column has several listings, else the lines of one occasion follow each other."""

    def key(row: Row | Refused) -> object:
        return row.place if isinstance(row, Refused) or row.first(*_SEVERAL) else row.first(*_IDS) or row.place

    text = text_of(file)
    try:
        for _, group in groupby(rows(text), key):
            yield from _of_group(list(group), defaults)
    finally:
        text.detach()  # whoever opened the file closes it


def _of_group(group: list[Row | Refused], defaults: Defaults) -> Iterator[Read]:
    lines = [one for one in group if isinstance(one, Row)]
    yield from (one for one in group if isinstance(one, Refused))
    if not lines:
        return
    fields: dict[str, Any] = dict(lines[0].cells)
    several = lines[0].first(*_SEVERAL)
    fields["listing_ids"] = _SPLIT.split(several) if several else [line.first(*_LISTING) for line in lines]
    if not any(fields["listing_ids"]):
        yield Refused(lines[0].place, "listing_ids", "no column listing_ids, and none listing_id; name one of them")
        return
    yield _occasion(lines[0].place, fields, defaults)


def _occasion(place: str, fields: Mapping[str, Any], defaults: Defaults) -> Read:
    """One occasion of the fields of a line, checked as the search service checks it."""
    listings = next((fields[name] for name in _SEVERAL if name in fields), None)
    if not isinstance(listings, list) or not all(isinstance(one, str | int) for one in listings):
        return Refused(place, "listing_ids", "not there, or no list of ids; name the listings that were together")
    ids = list(dict.fromkeys(f"{defaults.prefix}{one}" for one in listings if one != ""))
    if len(ids) < 2:
        return LeftOut(place, "fewer than two listings")
    if len(ids) > MAX_TOGETHER:
        return Refused(place, "listing_ids", f"{len(ids)} listings; an occasion has at most {MAX_TOGETHER}")
    try:
        value = {
            "occasion_id": str(next((fields[name] for name in _IDS if fields.get(name)), "")),
            "kind": fields.get("kind") or defaults.kind,
            "listing_ids": ids,
            "event_time": _time(next((fields[name] for name in _TIMES if fields.get(name)), defaults.event_time)),
        }
        return decode_occasion(msgspec.json.encode(value))
    except NotATime as error:
        return Refused(place, "event_time", str(error))
    except InvalidEvent as error:
        return Refused(place, "", error.message)


def _time(value: object) -> int:
    if isinstance(value, str):
        return from_text(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotATime("event_time: neither a number nor a text; give RFC 3339 text such as 2026-01-31T12:00:00Z")
    return value if isinstance(value, int) else from_number(value)
