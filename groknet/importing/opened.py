"""Opens a feed: unpacks gzip within a bound, and decodes text. Memory does not grow with the feed.

A gzip file of a few kilobytes can unpack to gigabytes. A real feed shrinks to a fifth or a twentieth; so a file that
unpacks to more than 200 times its size is refused, once it is beyond 16 MB.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from groknet.cli.exits import CommandError, Exit

HEAD_BYTES = 64 * 1024
"""So much of a feed is looked at to recognise its format."""
MAX_LINE = 1024 * 1024
"""Characters of a line or a product; a description has a few thousand."""
_MOST_TIMES, _FREE_BYTES = 200, 16 * 1024 * 1024
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class FeedDamaged(Exception):
    """The feed cannot be read beyond this place. The text says why."""


class _Bounded(io.RawIOBase):
    """Unpacks gzip, and ends a bomb."""

    def __init__(self, packed: io.RawIOBase) -> None:
        self._packed = _Counted(packed)
        self._plain = gzip.GzipFile(fileobj=self._packed)
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._plain.read(len(buffer))
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise FeedDamaged("the gzip file is damaged or cut off; send it again") from None
        self._count += len(data)
        if self._count > max(_FREE_BYTES, _MOST_TIMES * self._packed.count):
            text = f"the gzip file unpacks to more than {_MOST_TIMES} times its size; unpack it if you trust it"
            raise FeedDamaged(text)
        buffer[: len(data)] = data
        return len(data)


class _Counted(io.RawIOBase):
    """Counts the bytes that are read."""

    def __init__(self, inner: io.RawIOBase) -> None:
        self._inner = inner
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._inner.read(len(buffer)) or b""
        self.count += len(data)
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """A feed without gzip; `peek(HEAD_BYTES)` shows its head.

    Raises:
        CommandError: there is no such file, or it is a zip archive.
        FeedDamaged: the gzip file is damaged; also while it is read.
    """
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise CommandError(f"{path}: cannot be read ({error.strerror})", Exit.NOT_FOUND) from None
    with file:
        start = file.read(4)
        file.seek(0)
        if start.startswith(_ZIP):
            raise CommandError(f"{path}: a zip archive; unpack it, and import what is in it", Exit.USAGE)
        raw: Any = _Bounded(file) if start.startswith(_GZIP) else file
        yield io.BufferedReader(raw, HEAD_BYTES)


def text_of(
    feed: io.BufferedReader, encoding: str | None = None, *, errors: str = "surrogateescape"
) -> io.TextIOWrapper:
    """The feed as text: by its byte-order mark, else `encoding`, else UTF-8. Bytes that are none become surrogates, so
    that only the product that has them is refused (`is_text`), unless `errors` names another handler of codecs."""
    head = feed.peek(HEAD_BYTES)
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    return io.TextIOWrapper(feed, marked or encoding or "utf-8", errors=errors, newline="")


def is_text(text: str) -> bool:
    """Whether a text can be written as UTF-8. Bytes that could not be decoded are surrogates in it, and so is half of a
    character that JSON names, such as `"\\ud83d"`."""
    return not any("\ud800" <= c <= "\udfff" for c in text)
