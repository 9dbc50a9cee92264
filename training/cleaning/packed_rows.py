"""Rows of labels in little memory: about 60 bytes for a photo of a folder, where a dictionary takes 280."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import msgspec

from training.readers.label_table import Row


class PackedRows(Sequence[Row]):
    """Rows that never change. Each is made again whenever it is asked for, which takes a microsecond.

    All values lie in one block of bytes. Rows with the same columns share their names.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        """Pack the rows; the iterable is read once, and nothing of it is kept."""
        kinds: dict[tuple[str, ...], int] = {}
        encode = msgspec.msgpack.Encoder().encode
        self._packed, self._ends = bytearray(), array("Q", [0])
        for row in rows:
            kind = kinds.setdefault(tuple(row), len(kinds))
            self._packed += encode((kind, tuple(row.values())))
            self._ends.append(len(self._packed))
        self._columns = list(kinds)
        self._decode = msgspec.msgpack.Decoder(tuple[int, list[str]]).decode

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        if isinstance(place, slice):
            return [self._row(i) for i in range(*place.indices(len(self)))]
        return self._row(range(len(self))[place])

    def __iter__(self) -> Iterator[Row]:
        return map(self._row, range(len(self)))

    def columns(self) -> list[str]:
        """The names of all columns that a row has, in the order in which they first come."""
        return list(dict.fromkeys(name for names in self._columns for name in names))

    def _row(self, place: int) -> Row:
        begin, end = self._ends[place], self._ends[place + 1]
        kind, values = self._decode(memoryview(self._packed)[begin:end])
        return dict(zip(self._columns[kind], values, strict=True))


class Paths(Sequence[str]):
    """The paths of some rows, which are not kept a second time."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [row["path"] for row in self._rows[place]]
        return self._rows[place]["path"]

    def __iter__(self) -> Iterator[str]:
        return (row["path"] for row in self._rows)
