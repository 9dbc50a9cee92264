"""Files of events in every form in which they are sent, and what is refused once."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groknet.cli.exits import CommandError, Exit
from groknet.submitting.event_files import is_event_name, looks_like_events, read_events

EVENTS = [
    {"event_id": f"e{n}", "listing_id": f"l/{n}", "event_time": 1_700_000_000_000_001 + n, "type": "removed"}
    for n in range(3)
]
LINES = "\n".join(json.dumps(event) for event in EVENTS)
PRETTY = json.dumps(EVENTS[0], indent=2)


def read(data: bytes, name: str = "f") -> list[tuple[str, str | None]]:
    return [(place, item.listing_id) for place, item in read_events(io.BytesIO(data), name)]


IDS = ["l/0", "l/1", "l/2"]
FORMS: dict[str, tuple[bytes, list[str]]] = {
    "lines": (LINES.encode(), IDS),
    "lines of Windows": (LINES.replace("\n", "\r\n").encode() + b"\r\n", IDS),
    "byte-order mark": (b"\xef\xbb\xbf" + LINES.encode(), IDS),
    "UTF-16 of PowerShell": (LINES.encode("utf-16"), IDS),
    "gzip": (gzip.compress(LINES.encode()), IDS),
    "gzip in two parts": (gzip.compress(LINES.encode() + b"\n") + gzip.compress(b"\n"), IDS),
    "gzip with a byte-order mark": (gzip.compress(b"\xef\xbb\xbf" + LINES.encode()), IDS),
    "array": (json.dumps(EVENTS).encode(), IDS),
    "pretty array": (b"\xef\xbb\xbf\n" + json.dumps(EVENTS, indent=4).encode() + b"\n", IDS),
    "one pretty event": (PRETTY.encode(), IDS[:1]),
    "pretty events": ("\n".join(json.dumps(event, indent=1) for event in EVENTS).encode(), IDS),
    "blank lines": (b"\n  \n" + LINES.replace("\n", "\n\n").encode(), IDS),
    "empty": (b"", []),
    "only blank": (b" \r\n\n", []),
    "empty array": (b"[]", []),
}


@pytest.mark.parametrize(("data", "ids"), FORMS.values(), ids=FORMS)
def test_events_are_read_in_every_form(data: bytes, ids: list[str]) -> None:
    assert [listing for _, listing in read(data)] == ids


def test_places_are_lines_or_items() -> None:
    assert [place for place, _ in read(b"\n" + LINES.encode())] == ["f:2", "f:3", "f:4"]
    assert [place for place, _ in read(json.dumps(EVENTS).encode())] == ["f[0]", "f[1]", "f[2]"]


def test_events_keep_their_bytes() -> None:
    spaced = b'{ "listing_id" : "x",\n  "more": 1.50 }'
    for data in (b"[ " + spaced + b" ]", spaced):
        assert [item.value for _, item in read_events(io.BytesIO(data), "f")] == [spaced]


def test_a_line_that_is_no_event_does_not_stop_the_others() -> None:
    lines = ["{not json", *LINES.splitlines(), '{"listing_id": "x/3"']
    items = [item for _, item in read_events(io.BytesIO("\n".join(lines).encode()), "f")]
    assert [item.value.decode() for item in items] == lines
    assert [item.event is None for item in items] == [True, False, False, False, True]


REFUSED = {
    "zip": (b"PK\x03\x04" + bytes(50), "a zip archive; unpack it"),
    "broken array": (b'[{"event_id": "e"}', "begins like a JSON array and is none"),
    "two arrays": (b"[]\n[]", "begins like a JSON array and is none"),
    "cut gzip": (gzip.compress(LINES.encode())[:-12], "the gzip file is damaged or cut off"),
    "broken gzip": (b"\x1f\x8b\x08" + bytes(30), "the gzip file is damaged or cut off"),
    "cut UTF-16": (LINES.encode("utf-16")[:-1], "damaged UTF-16"),
}


@pytest.mark.parametrize(("data", "text"), REFUSED.values(), ids=REFUSED)
def test_another_kind_of_file_is_refused_once(data: bytes, text: str) -> None:
    with pytest.raises(CommandError, match=text) as caught:
        read(data, "events.json")
    assert str(caught.value).startswith("events.json: ")
    assert caught.value.code == Exit.USAGE


class Pipe(io.RawIOBase):
    """Gives what is there, piece by piece, and never more."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.pieces.pop(0) if self.pieces else b""
        buffer[: len(piece)] = piece
        return len(piece)


def test_a_pipe_is_read_as_it_comes() -> None:
    """The first event is there before the second was written."""
    pieces = [line.encode() + b"\n" for line in LINES.splitlines()]
    pipe = Pipe(pieces)
    events = read_events(io.BufferedReader(pipe), "stdin")
    assert next(events)[1].listing_id == "l/0"
    assert len(pipe.pieces) == 2
    assert [item.listing_id for _, item in events] == ["l/1", "l/2"]


@given(st.binary(max_size=200) | st.text('{}[]":,\n ae1\\', max_size=80).map(str.encode), st.booleans())
def test_whatever_a_file_holds_is_read_or_refused(data: bytes, packed: bool) -> None:
    try:
        found = list(read_events(io.BytesIO(gzip.compress(data) if packed else data), "f"))
    except CommandError:
        return
    assert all(item.value.strip() for _, item in found)


@pytest.mark.parametrize("name", ["a.ndjson", "A.JSONL", "a.json", "a.ndjson.gz", "a.JSON.GZ"])
def test_names_of_event_files(name: str) -> None:
    assert is_event_name(name)
    assert not is_event_name(name + ".jpg")


def test_first_bytes_of_event_files() -> None:
    assert all(map(looks_like_events, (b"\xef\xbb\xbf  {", b"[", b"\x1f\x8b\x08")))
    assert not any(map(looks_like_events, (b"\xff\xd8\xff\xe0", b"hello", b"")))
