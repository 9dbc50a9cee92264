"""Reads events from files and from stdin: lines of JSON, one pretty-printed event after the other, or an array of them.

A file may be compressed with gzip, and may begin with a byte-order mark. What cannot be read as any of these is refused
once, with what it is. A single line that is not an event goes on as it is and becomes a dead letter.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

import msgspec

from groknet.cli.exits import CommandError, Exit
from groknet.submitting.send import Outgoing, checked

SUFFIXES = frozenset((".ndjson", ".jsonl", ".json"))
_MOST_LINE = 64 * 1024 * 1024  # bytes; a topic takes about 1 MB
_MOST_WHOLE = 256 * 1024 * 1024  # bytes of a document that has to be read before its first event is known
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_GZIP, _ZIP, _UTF8 = b"\x1f\x8b", b"PK\x03\x04", codecs.BOM_UTF8
_SPACE = " \t\r\n"


def is_event_name(name: str) -> bool:
    """Whether a file of this name holds events."""
    plain = name.lower().removesuffix(".gz")
    return any(plain.endswith(suffix) for suffix in SUFFIXES)


def looks_like_events(head: bytes) -> bool:
    """Whether a file that begins with these bytes may hold events."""
    text = head.removeprefix(_UTF8).lstrip()
    return text[:1] in (b"{", b"[") or head.startswith((_GZIP, *_UTF16))


def read_events(file: IO[bytes], name: str) -> Iterator[tuple[str, Outgoing]]:
    """Read the events of a file, each with its place, such as `events.ndjson:3`.

    The bytes of an event are sent as they are in the file, without the line's end.

    Raises:
        CommandError: the whole file is something else, such as an archive, or is damaged.
    """
    try:
        for place, value in _values(_plain(_Chained(b"", file), name), name):
            yield place, checked(value)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        text = f"{name}: the gzip file is damaged or cut off; the events before that place were sent"
        raise CommandError(text, Exit.USAGE) from None


class _Chained(io.RawIOBase):
    """Some bytes that were read already, and then the rest of the file."""

    def __init__(self, head: bytes, rest: Any) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = len(buffer)
        piece, self._head = self._head[:size], self._head[size:]
        if not piece:  # what is there now, so that a pipe is not waited for
            piece = self._rest.read1(size) if hasattr(self._rest, "read1") else self._rest.read(size) or b""
        buffer[: len(piece)] = piece
        return len(piece)


def _plain(raw: io.RawIOBase, name: str) -> IO[bytes]:
    """The file without gzip and without a byte-order mark, in UTF-8."""
    file: IO[bytes] = io.BufferedReader(raw)
    head = file.read(4)
    whole: IO[bytes] = io.BufferedReader(_Chained(head, file))
    if head.startswith(_GZIP):
        unpacked = gzip.GzipFile(fileobj=whole)
        return _plain(_Chained(b"", unpacked), name)
    if head.startswith(_ZIP):
        raise CommandError(f"{name}: a zip archive; unpack it, and submit what is in it", Exit.USAGE)
    if head.startswith(_UTF16):
        try:
            text = _all(whole, name).decode("utf-16")
        except UnicodeDecodeError:
            raise CommandError(f"{name}: damaged UTF-16; write the file as UTF-8", Exit.USAGE) from None
        return io.BufferedReader(_Chained(text.encode(), io.BytesIO()))
    if head.startswith(_UTF8):
        return io.BufferedReader(_Chained(head.removeprefix(_UTF8), file))
    return whole


def _values(file: IO[bytes], name: str) -> Iterator[tuple[str, bytes]]:
    """(place, bytes) of each event."""
    number, first = 0, b""
    while not first.strip():
        line = _line(file, name, number + 1)
        if not line:
            return
        number, first = number + 1, line
    start = first.lstrip()
    if start.startswith(b"["):
        yield from _items(first + _all(file, name), name)
        return
    if start.startswith(b"{") and not first.rstrip().endswith(b"}"):
        whole = first + _all(file, name)
        documents = _documents(whole)
        if documents is not None:
            yield from ((f"{name}[{i}]", value) for i, value in enumerate(documents))
            return
        file = io.BufferedReader(_Chained(whole[len(first) :], io.BytesIO()))
    while first:
        value = first.rstrip(b"\r\n")
        if value.strip():
            yield f"{name}:{number}", value
        number += 1
        first = _line(file, name, number)


def _line(file: IO[bytes], name: str, number: int) -> bytes:
    line = file.readline(_MOST_LINE + 1)
    if len(line) > _MOST_LINE:
        text = f"{name}:{number}: the line is longer than {_MOST_LINE} bytes; write one event a line"
        raise CommandError(text, Exit.USAGE)
    return line


def _all(file: IO[bytes], name: str) -> bytes:
    """The rest of the file, which has to be read whole."""
    rest = file.read(_MOST_WHOLE + 1)
    if len(rest) > _MOST_WHOLE:
        text = f"{name}: more than {_MOST_WHOLE} bytes in one JSON document; write one event a line (.ndjson)"
        raise CommandError(text, Exit.USAGE)
    return rest


def _items(whole: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """The items of a JSON array, as they are written."""
    try:
        items = msgspec.json.decode(whole, type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        text = f"{name}: begins like a JSON array and is none ({error}); nothing of it was sent"
        raise CommandError(text, Exit.USAGE) from None
    yield from ((f"{name}[{i}]", bytes(item)) for i, item in enumerate(items))


def _documents(whole: bytes) -> list[bytes] | None:
    """The JSON objects that follow one another in a text, as they are written. None if it is something else."""
    found: list[bytes] = []
    with suppress(UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        text, decoder, at = whole.decode(), json.JSONDecoder(), 0
        while at < len(text):
            if text[at] in _SPACE:
                at += 1
                continue
            _, end = decoder.raw_decode(text, at)
            found.append(text[at:end].encode())
            at = end
        return found
    return None
