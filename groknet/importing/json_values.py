"""Reads the values of a JSON file one by one: lines, values one after the other, or the items of an array."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

_CHUNK = 64 * 1024
MOST_VALUE = 16 * 1024 * 1024
"""Characters of one value; the page of a large shop has some thousand products."""
_MOST_DIGITS = 4_300
"""Of a whole number; Python reads no longer one (`sys.int_info.default_max_str_digits`)."""
_SPACE = " \t\r\n\ufeff"


class NotJson(ValueError):
    """The text is no JSON from some line on."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(why)
        self.line = line


def json_values(text: TextIO) -> Iterator[tuple[int, Any]]:
    """(line, value) of each value. Memory is bounded by the largest value.

    Raises:
        NotJson: what follows is no JSON, or a value is too large.
    """
    scan = _Scan(text)
    inside = scan.skip("[")
    while True:
        while scan.skip(","):
            pass
        if inside and scan.skip("]"):
            inside = False
            continue
        if not scan.more():
            if inside:
                raise NotJson(scan.line, "the array does not end")
            return
        yield scan.value()


def _whole(digits: str) -> int | str:
    """A whole number. One with more digits than Python reads stays text, so that only the field that has it is
    unusable."""
    return int(digits) if len(digits) <= _MOST_DIGITS else digits


class _Scan:
    """The text that was read and not used yet."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._decoder = json.JSONDecoder(parse_int=_whole)
        self._rest = ""
        self._at = 0
        self.line = 1

    def more(self) -> bool:
        """Whether something follows. White space is skipped."""
        while True:
            while self._at < len(self._rest) and self._rest[self._at] in _SPACE:
                self.line += self._rest[self._at] == "\n"
                self._at += 1
            if self._at < len(self._rest):
                return True
            if not self._read():
                return False

    def skip(self, sign: str) -> bool:
        """Whether the sign follows; it is skipped then."""
        found = self.more() and self._rest[self._at] == sign
        self._at += found
        return found

    def value(self) -> tuple[int, Any]:
        """The next value, with its line."""
        began = self.line
        least = _CHUNK
        while True:
            try:
                value, end = self._decoder.raw_decode(self._rest, self._at)
            except (ValueError, RecursionError) as error:
                if len(self._rest) - self._at > MOST_VALUE:
                    raise NotJson(began, f"a value of more than {MOST_VALUE} characters, or no JSON") from None
                if not self._read(least):
                    raise NotJson(began, f"not JSON: {error}") from None
                least *= 2  # so that a large value is not tried once for every piece of it
                continue
            if end == len(self._rest) and self._read():
                continue  # a number may go on
            self.line += self._rest.count("\n", self._at, end)
            self._at = end
            return began, value

    def _read(self, count: int = _CHUNK) -> bool:
        data = self._text.read(count)
        self._rest, self._at = self._rest[self._at :] + data, 0
        return bool(data)
