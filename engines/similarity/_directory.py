"""The listings of a sealed part, as columns: 30 bytes and the ids for each listing, instead of 500 as Python objects.

A slot is a listing's place. Slots are sorted by the CRC-32 of the listing id. The rows (codes) of a slot are
consecutive, in the order of its photos. The text of a slot is its listing id and its photo ids, separated by line
breaks, which no id may contain.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[Any]
_CHUNK = 1 << 15  # slots gathered at once: np.repeat holds the interpreter lock, 1 ms for the text of so many


class Entry(NamedTuple):
    """One listing to be put into a directory. `profile` is the number of its model version, state and category."""

    listing_id: str
    event_time: int
    profile: int
    image_ids: tuple[str, ...]


class Moved(NamedTuple):
    """Rows that were kept: rows `old` of the source became rows `new` of the joined directory, both uint32."""

    old: Ints
    new: Ints


@dataclass(frozen=True, eq=False, slots=True)
class Directory:
    """Columns with one entry for each slot.

    Attributes:
        keys: uint32, ascending: the CRC-32 of the listing id.
        event_times: int64, UTC microseconds.
        profiles: uint32.
        starts: [slots + 1], where each slot's text begins in `text`.
        first_rows: uint32 [slots + 1], the first row of each slot.
        text: uint8, the ids of all slots.
    """

    keys: Ints
    event_times: Ints
    profiles: Ints
    starts: Ints
    first_rows: Ints
    text: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def rows(self) -> int:
        """The number of codes of all slots."""
        return int(self.first_rows[-1])

    @property
    def nbytes(self) -> int:
        """The size of all columns, in bytes."""
        columns = (self.keys, self.event_times, self.profiles, self.starts, self.first_rows, self.text)
        return sum(column.nbytes for column in columns)

    def find(self, listing_id: str) -> int:
        """Return the slot of a listing, or -1."""
        wanted = listing_id.encode()
        key = zlib.crc32(wanted)
        slot = int(self.keys.searchsorted(np.uint32(key)))
        while slot < len(self.keys) and self.keys[slot] == key:
            if self._record(slot).partition(b"\n")[0] == wanted:
                return slot
            slot += 1
        return -1

    def ids(self, slot: int) -> tuple[str, tuple[str, ...]]:
        """Return the listing id and the photo ids of a slot."""
        listing_id, *image_ids = self._record(slot).decode().split("\n")
        return listing_id, tuple(image_ids)

    def _record(self, slot: int) -> bytes:
        return self.text[int(self.starts[slot]) : int(self.starts[slot + 1])].tobytes()

    def slot_of(self, row: int) -> int:
        """Return the slot of a row."""
        return int(self.first_rows.searchsorted(self.first_rows.dtype.type(row), side="right")) - 1

    def slots_of(self, rows: Ints) -> Ints:
        """Return the slot, int64 [n], of each of `rows`, any integer type [n]."""
        sought = rows.astype(self.first_rows.dtype)  # with another type, numpy would convert the whole column instead
        return np.asarray(self.first_rows.searchsorted(sought, side="right")) - 1

    def rows_of(self, slot: int) -> range:
        """Return the rows of a slot."""
        return range(int(self.first_rows[slot]), int(self.first_rows[slot + 1]))


def build_directory(entries: Sequence[Entry]) -> tuple[Directory, list[int]]:
    """Return a directory of these listings, and their order in it: slot i is `entries[order[i]]`."""
    keys = np.array([zlib.crc32(entry.listing_id.encode()) for entry in entries], np.uint32)
    order: list[int] = np.argsort(keys, kind="stable").tolist()
    records = ["\n".join((entries[i].listing_id, *entries[i].image_ids)).encode() for i in order]
    directory = Directory(
        keys=keys[order],
        event_times=np.array([entries[i].event_time for i in order], np.int64),
        profiles=np.array([entries[i].profile for i in order], np.uint32),
        starts=_running_sum([len(record) for record in records]),
        first_rows=_running_sum([len(entries[i].image_ids) for i in order]),
        text=np.frombuffer(b"".join(records), np.uint8),
    )
    return directory, order


def join(parts: Sequence[tuple[Directory, Ints]]) -> tuple[Directory, list[Moved]]:
    """Join the kept slots of several directories into one.

    Args:
        parts: each directory, and its slots to keep, any integer type [n]. A listing may be kept from one directory
            only.

    Returns:
        The joined directory, and for each part where its rows went (uint32).
    """
    keys = np.concatenate([directory.keys[kept] for directory, kept in parts])
    order = np.argsort(keys, kind="stable")
    counts = np.concatenate([np.diff(directory.first_rows)[kept] for directory, kept in parts])
    first_rows = _running_sum(counts[order])
    slot_of = np.empty(len(order), np.uint32)
    slot_of[order] = np.arange(len(order), dtype=np.uint32)
    moved, begin = [], 0
    for directory, kept in parts:
        mine = slice(begin, begin + len(kept))
        begin += len(kept)
        old = ranges(directory.first_rows[kept], counts[mine])
        moved.append(Moved(old, ranges(first_rows[slot_of[mine]], counts[mine])))
    texts = [directory.text for directory, _ in parts]
    bases = np.cumsum([0, *(len(text) for text in texts[:-1])])
    begins = [one.starts[kept].astype(np.int64) + base for (one, kept), base in zip(parts, bases, strict=True)]
    lengths = np.concatenate([np.diff(directory.starts)[kept] for directory, kept in parts])[order]
    joined = Directory(
        keys=keys[order],
        event_times=np.concatenate([directory.event_times[kept] for directory, kept in parts])[order],
        profiles=np.concatenate([directory.profiles[kept] for directory, kept in parts])[order],
        starts=_running_sum(lengths),
        first_rows=first_rows,
        text=_gather(np.concatenate(texts), np.concatenate(begins)[order], lengths),
    )
    return joined, moved


def ranges(starts: Ints, counts: Ints) -> Ints:
    """Return uint32: counts[0] numbers from starts[0] upwards, then counts[1] numbers from starts[1], and so on."""
    counts = counts.astype(np.uint32)
    before = np.cumsum(counts, dtype=np.uint32) - counts
    shifts = starts.astype(np.uint32) - before  # wraps below zero, and the sum wraps back
    out = np.arange(int(counts.sum(dtype=np.int64)), dtype=np.uint32)
    at = 0
    for chunk in range(0, len(counts), _CHUNK):
        piece = np.repeat(shifts[chunk : chunk + _CHUNK], counts[chunk : chunk + _CHUNK])
        out[at : at + len(piece)] += piece
        at += len(piece)
    return out


def _running_sum(counts: Ints | Sequence[int]) -> Ints:
    """Return 0, counts[0], counts[0] + counts[1], …, as uint32 if that is enough, otherwise uint64."""
    total = int(np.sum(counts, dtype=np.int64)) if len(counts) else 0
    sums = np.zeros(len(counts) + 1, np.uint32 if total < 2**32 else np.uint64)
    np.cumsum(counts, out=sums[1:])
    return sums


def _gather(text: npt.NDArray[np.uint8], begins: Ints, lengths: Ints) -> npt.NDArray[np.uint8]:
    out = np.empty(int(lengths.sum(dtype=np.int64)), np.uint8)
    at = 0
    for chunk in range(0, len(begins), _CHUNK):
        length = lengths[chunk : chunk + _CHUNK].astype(np.int64)
        before = np.cumsum(length) - length
        source = np.repeat(begins[chunk : chunk + _CHUNK] - before, length)
        source += np.arange(len(source))
        out[at : at + len(source)] = text[source]
        at += len(source)
    return out
