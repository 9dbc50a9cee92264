"""Reads the rows of comma- and tab-separated feeds, one at a time, with the line where each begins."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TextIO

from groknet.importing.opened import MAX_LINE, is_text
from groknet.importing.product import Entry, Refused

_SEPARATORS = "\t,;"
_SPLIT = re.compile(r"(?<!\\),")
_BEFORE_ADDRESS = re.compile(r",\s*(?=(?:https?:)?//)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of one row by column; a column that the row lacks is empty."""

    place: str
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")

    def first(self, *columns: str) -> str:
        """The first cell of these columns that is not empty."""
        return next((cell for column in columns if (cell := self[column])), "")


def column_name(text: str) -> str:
    """A column's name as we compare it: lower case, words joined by `_`, without the prefix `g:`."""
    return re.sub(r"[^\w]+", "_", text.strip().lower().removeprefix("g:")).strip("_")


def header_of(line: str) -> tuple[list[str], str]:
    """The columns that a first line names, and the separator."""
    separator = max(_SEPARATORS, key=line.count)
    cells = next(csv.reader([line], delimiter=separator), [])
    return [column_name(cell) for cell in cells], separator


def rows(text: TextIO) -> Iterator[Row | Refused]:
    """The rows behind the header. A row that cannot be read is refused alone."""
    csv.field_size_limit(MAX_LINE)
    lines = _Lines(text)
    header = next(iter(lines), "")
    names, separator = header_of(header)
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        yield Refused("line 1", twice, "two columns have this name; rename one", ends=True)
        return
    reader = csv.reader(lines, delimiter=separator)
    while True:
        begin = lines.number + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Refused(f"line {begin}", "", f"cannot be read ({error}); check its quotation marks")
            continue
        for number in lines.too_long():
            yield Refused(f"line {number}", "", f"longer than {MAX_LINE} characters")
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield _row(f"line {begin}", names, cells)


def _row(place: str, names: list[str], cells: list[str]) -> Row | Refused:
    surplus = [cell for cell in cells[len(names) :] if cell.strip()]
    if surplus:
        text = f"{len(cells)} cells, but the first line names {len(names)} columns; put quotation marks around cells"
        return Refused(place, "", f"{text} that contain the separator")
    found = {name: cell.strip() for name, cell in zip(names, cells, strict=False) if cell.strip()}
    wrong = next((name for name, cell in found.items() if not is_text(cell)), None)
    if wrong is not None:
        return Refused(place, wrong, "not UTF-8; save the feed as UTF-8, or name its --encoding")
    return Row(place, found)


class _Lines:
    """The lines of a text, counted. One that is too long is skipped and remembered."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._too_long: list[int] = []
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while True:
            line = self._text.readline(MAX_LINE + 1)
            if not line:
                raise StopIteration
            self.number += 1
            if len(line) <= MAX_LINE:
                return line
            self._too_long.append(self.number)
            while line and not line.endswith("\n"):
                line = self._text.readline(MAX_LINE)

    def too_long(self) -> list[int]:
        """The lines that were skipped since the last call."""
        found, self._too_long = self._too_long, []
        return found


def listed(text: str) -> list[str]:
    """The parts of a cell that are separated by commas; `\\,` is a comma inside a part."""
    return [part for one in _SPLIT.split(text) if (part := one.replace("\\,", ",").strip())]


def addresses(text: str) -> tuple[str, ...]:
    """The addresses in a cell. Only a comma before another address separates, because an address may have commas."""
    return tuple(part for one in _BEFORE_ADDRESS.split(text.replace("\\,", ",")) if (part := one.strip()))


__all__ = ["Entry", "Row", "addresses", "column_name", "header_of", "listed", "rows"]
