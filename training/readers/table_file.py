"""A table of labels as people save it: read whatever is clear, refuse the rest with file, line and remedy.

Spreadsheets separate cells by commas, semicolons (Excel in most of Europe) or tabs, begin a file with a byte-order mark
or with `sep=;`, and save "Unicode text" as UTF-16. All of this is understood. A row with too few or too many cells is
not, because nobody can say which cell is missing.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from schemas.errors import ConfigError
from training.readers.label_table import Row

MAX_TABLE_BYTES = 1 << 30  # 1 GiB, about ten million rows: a larger file is no table of labels
OWN_COLUMNS = ("path", "split", "domain", "box")  # names that we give a meaning; upper case counts as lower case
_SEPARATORS = (",", ";", "\t")
_SHOWN = 5  # further lines or names that a message lists


@dataclass
class Problems:
    """What is wrong with single lines of one file. `refuse` says the first, and where there are more like it."""

    file: Path
    found: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, text: str) -> None:
        """`text` is a clause with the remedy, without file and line."""
        self.found.append((line, text))

    def refuse(self) -> None:
        """Raise ConfigError if anything was added."""
        if not self.found:
            return
        (line, text), *others = self.found
        lines = list(dict.fromkeys(number for number, _ in others if number != line))
        more = ", ".join(map(str, lines[:_SHOWN])) + (", …" if len(lines) > _SHOWN else "")
        also = f" ({len(lines)} more lines are wrong: {more})" if lines else ""
        raise ConfigError(f"data: {self.file}, line {line}: {text}{also}")


@dataclass(frozen=True)
class Table:
    """A table that was read. Cells and names of columns have no blanks at their ends.

    Attributes:
        file: it was read from.
        columns: names, in the file's order.
        rows: one for each photo; every row has every column.
        lines: where each row begins, from 1.
    """

    file: Path
    columns: tuple[str, ...]
    rows: list[Row]
    lines: list[int]


def read_table(file: Path) -> Table:
    """Read a table that has a column `path`.

    Raises:
        ConfigError: it is no such table, or some of its rows cannot be told apart; the message names file, line and
            remedy.
    """
    text = _text(file)
    separator, skipped, text = _announced(text)
    begin, names, separator = _header(file, text, separator, skipped)
    columns = _columns(file, names, begin)
    problems = Problems(file)
    rows, lines = [], []
    for line, cells in _records(file, text, separator, skipped):
        if line <= begin or not any(cells):
            continue  # the header, or a row that a spreadsheet left empty
        if len(cells) < len(names) or any(cells[len(names) :]):
            problems.add(line, _wrong_count(cells, names, separator))
            continue
        rows.append({column: cells[place] for place, column in columns.items()})
        lines.append(line)
    problems.refuse()
    if not rows:
        raise ConfigError(f"data: {file} has no row below its first line; write one row for each photo")
    return Table(file, tuple(columns.values()), rows, lines)


def _text(file: Path) -> str:
    if file.stat().st_size > MAX_TABLE_BYTES:
        raise ConfigError(f"data: {file} is larger than 1 GiB; divide it, and make each part a data set of its own")
    data = file.read_bytes()
    if data.startswith(b"PK\x03\x04"):
        raise ConfigError(f"data: {file} is a spreadsheet or a zip file; save the table as CSV in UTF-8")
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"data: {file}, line {line}: not UTF-8 (byte {error.start}); save it as UTF-8") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ConfigError(f"data: {file}, line {line}: a NUL character, so this is no text; save it as CSV in UTF-8")
    return text


def _announced(text: str) -> tuple[str, int, str]:
    """The separator that Excel's `sep=;` announces or "", how many lines that takes, and the text after it."""
    match = re.match(r'"?sep=([,;\t|])"?\r?\n', text, re.IGNORECASE)
    return (match[1], 1, text[match.end() :]) if match else ("", 0, text)


def _header(file: Path, text: str, separator: str, skipped: int) -> tuple[int, list[str], str]:
    """The first line with names, these names, and the separator: the first that gives a column `path`."""
    best: tuple[int, list[str]] = (skipped + 1, [])
    wrong: ConfigError | None = None
    for candidate in [separator] if separator else _SEPARATORS:
        records = ((line, cells) for line, cells in _records(file, text, candidate, skipped) if any(cells))
        try:
            line, names = next(records, best)
        except ConfigError as error:  # quotation marks that are wrong with this separator
            wrong = wrong or error
            continue
        if "path" in map(str.lower, names):
            return line, names, candidate
        best = max(best, (line, names), key=lambda found: len(found[1]))
    if wrong is not None:
        raise wrong
    there = ", ".join(name[:40] for name in best[1][:_SHOWN]) + (", …" if len(best[1]) > _SHOWN else "")
    raise ConfigError(
        f"data: {file}, line {best[0]}: there is no `path` column; the first line names the columns, separated by "
        f"commas, and `path` is the one with the photos' files; it has {there!r}"
    )


def _columns(file: Path, names: list[str], line: int) -> dict[int, str]:
    """Place → name. A column without a name, which pandas writes for its index, is left out."""
    columns: dict[int, str] = {}
    for place, name in enumerate(names):
        plain = name.lower() if name.lower() in OWN_COLUMNS else name
        if plain and plain in columns.values():
            raise ConfigError(f"data: {file}, line {line}: two columns are called {plain!r}; give each its own name")
        if plain:
            columns[place] = plain
    return columns


def _records(file: Path, text: str, separator: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """The line where each record begins, and its cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)
    begin = skipped + 1
    try:
        for cells in reader:
            yield begin, [cell.strip() for cell in cells]
            begin = skipped + reader.line_num + 1
    except csv.Error as error:
        raise ConfigError(
            f"data: {file}, line {begin}: {error}; a cell that begins with a quotation mark ends with one, and those "
            "inside it are doubled"
        ) from None


def _wrong_count(cells: list[str], names: list[str], separator: str) -> str:
    has = f"{len(cells)} cell{'s' if len(cells) != 1 else ''}, but the first line names {len(names)} columns"
    if len(cells) < len(names):
        return f"{has} ({', '.join(names)}); write every cell of the row, empty ones too"
    what = {",": "comma", ";": "semicolon", "\t": "tab"}.get(separator, repr(separator))
    return f"{has} ({', '.join(names)}); put quotation marks around a cell that contains a {what}"
