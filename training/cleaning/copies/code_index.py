"""An index of 256-bit codes on disk, for millions of them: it finds codes near a query, and takes little memory.

It is the multi-index hash of Norouzi, Punjani and Fleet (*Fast Search in Hamming Space with Multi-Index Hashing*, CVPR
2012), as FAISS's IndexBinaryMultiHash is, in flat files that every process maps. A code is cut into chunks. For each
chunk a table lists the photos by its value. A query looks up the value of each of its chunks, and the values that
differ from it in one bit. Chunks have about as many bits as the number of photos has, so that a list has about one
photo, but at most 16: longer chunks would miss more. Beyond 65,536 photos the lists grow instead, and with them the
time of a query.

Two codes that are within 64 bits but differ by two bits or more in every chunk are missed: with chunks of 16 bits 2.5 %
of the random codes at 48 bits, 14 % at 56 and 35 % at 64; chunks of 20 bits would miss 32, 58 and 77 %. The bits are
shuffled first, because neighbouring bits of a pHash depend on each other, which makes lists long.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.files import replacing
from training.cleaning.copies.hashes import Codes
from training.cleaning.copies.large_arrays import ranks, slices

BITS = 256
_LEAST_CHUNK, _MOST_CHUNK = 12, 16  # bits
EXACT_BELOW = 4096  # codes; up to here all are compared, which takes 0.2 ms a photo
_COMPARED = 64  # queries that are compared at once: 16 MB for 4096 codes
_LOOKED_AT = 1 << 14  # codes of lists that are compared at once: 1 MB, which stays in a cache
_AT_ONCE = 4096  # codes that are shuffled at once: 1 MB of bits
_ORDER = np.random.default_rng(7).permutation(BITS)  # of the bits, the same in every run
_CODES, _LISTS, _STARTS = "codes.npy", "lists.npy", "starts.npy"
Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


class CodeIndex:
    """The index in a folder. Files are mapped, so processes of one machine share their memory.

    `codes.npy` has the shuffled codes, uint64 [n, 4]; `lists.npy` the photos ordered by each chunk, uint32 [tables, n];
    `starts.npy` where the list of each value begins, uint32 [tables, values + 1].
    """

    def __init__(self, folder: Path) -> None:
        """Open what `write_index` wrote."""
        self._codes, self._lists, self._starts = (
            np.load(folder / name, mmap_mode="r") for name in (_CODES, _LISTS, _STARTS)
        )
        self._chunk = int(self._starts.shape[1] - 1).bit_length() - 1
        self._flips = np.array([0, *(1 << bit for bit in range(self._chunk))], np.uint32)

    def ask(self, queries: Codes, bits: int) -> Found:
        """The codes within `bits` of each query, uint8 [m, 32]: its place, the code's place, and their distance."""
        asked = shuffled(queries)
        if len(self._codes) <= EXACT_BELOW:
            return self._compared(asked, bits)
        near = [places for table in range(len(self._lists)) for places in self._near_in(table, asked, bits)]
        owner, places = np.divmod(np.unique(np.concatenate(near)), len(self._codes))
        return owner, places, _apart(asked[owner], self._codes[places])

    def _near_in(self, table: int, asked: NDArray[np.uint64], bits: int) -> Iterator[NDArray[np.int64]]:
        """What one table finds within `bits` of the queries, uint64 [m, 4]: parts of query * codes + place."""
        values = (_chunk_of(asked, self._chunk, table)[:, None] ^ self._flips).ravel()
        lists, starts = self._lists[table], self._starts[table]
        begin = starts.take(values).astype(np.int64)
        counts = starts.take(values + np.uint32(1)) - begin
        total = np.cumsum(counts)
        cuts = np.searchsorted(total, np.arange(_LOOKED_AT, total[-1], _LOOKED_AT))
        for first, last in pairwise((0, *cuts.tolist(), len(values))):
            count = counts[first:last]
            owner = np.repeat(np.arange(first, last) // len(self._flips), count)
            at = np.repeat(begin[first:last] - np.cumsum(count) + count, count)
            at += np.arange(len(at))
            places = lists.take(at)
            apart = self._codes.take(places, axis=0)
            apart ^= asked.take(owner, axis=0)
            some = np.flatnonzero(_ones(apart) <= bits)
            yield owner[some] * len(self._codes) + places[some]

    def _compared(self, asked: NDArray[np.uint64], bits: int) -> Found:
        """The same by comparing every query with every code."""
        found = []
        for start in range(0, len(asked), _COMPARED):
            apart = _apart(asked[start : start + _COMPARED, None], self._codes[None])
            owner, places = np.nonzero(apart <= bits)
            found.append((owner + start, places, apart[owner, places]))
        owner, places, apart = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return owner, places, apart


def write_index(folder: Path, codes: Codes, places: NDArray[np.integer] | None = None) -> None:
    """Write the index of codes, uint8 [n, 32], n > 0, most significant bit first. Its memory does not grow with n, but
    the pages of the files that it writes do.

    Args:
        folder: made if it is missing.
        codes: may lie in a mapped file.
        places: of the codes that are indexed, int [m], m > 0. None means all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = len(codes) if places is None else len(places)
    chunk = min(_MOST_CHUNK, max(_LEAST_CHUNK, (count - 1).bit_length()))
    tables = BITS // chunk
    with (
        _array(folder / _CODES, (count, BITS // 64), np.uint64) as whole,
        _array(folder / _LISTS, (tables, count), np.uint32) as lists,
        _array(folder / _STARTS, (tables, (1 << chunk) + 1), np.uint32) as starts,
    ):
        for some in slices(count):
            whole[some] = shuffled(codes[some] if places is None else codes[places[some]])
        for table in range(tables):
            _write_table(whole, chunk, table, lists[table], starts[table])


def _write_table(
    codes: NDArray[np.uint64], chunk: int, table: int, listed: NDArray[np.uint32], starts: NDArray[np.uint32]
) -> None:
    """Fill one table: a sort by counting, whose result is that of a stable sort of all values."""
    for some in slices(len(codes)):
        starts[1:] += np.bincount(_chunk_of(codes[some], chunk, table), minlength=1 << chunk).astype(np.uint32)
    starts[:] = np.cumsum(starts)
    following = starts[:-1].astype(np.int64)
    for some in slices(len(codes)):
        values = _chunk_of(codes[some], chunk, table).astype(np.uint16)  # numpy sorts 16 bits fastest
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        listed[following[ordered] + ranks(ordered)] = order + some.start
        following += np.bincount(values, minlength=1 << chunk)


@contextmanager
def _array(file: Path, shape: tuple[int, ...], kind: type[np.generic]) -> Iterator[NDArray[Any]]:
    with replacing(file) as part:
        made = np.lib.format.open_memmap(part, "w+", kind, shape)
        yield made
        made.flush()


def _apart(left: NDArray[np.uint64], right: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The bits in which codes differ, uint64 [..., 4] each, int64 [...]."""
    return _ones(left ^ right).astype(np.int64)


def _ones(words: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """How many bits are set in each row of uint64 [..., 4], uint16 [...].

    The four counts of a row are read as one number, whose two halves are added twice: `sum` over so short an axis takes
    three times as long as everything else in a search.
    """
    four = np.bitwise_count(words).view(np.uint32)[..., 0]
    two = (four & np.uint32(0x00FF00FF)) + ((four >> np.uint32(8)) & np.uint32(0x00FF00FF))
    return np.asarray((two & np.uint32(0xFFFF)) + (two >> np.uint32(16)), np.uint16)


def shuffled(codes: Codes) -> NDArray[np.uint64]:
    """Codes with their bits in the order of the index, uint64 [n, 4]."""
    starts = range(0, len(codes), _AT_ONCE)
    parts = [np.packbits(np.unpackbits(codes[i : i + _AT_ONCE], axis=1)[:, _ORDER], axis=1) for i in starts]
    return np.ascontiguousarray(np.concatenate(parts)).view(np.uint64)


def _chunk_of(codes: NDArray[np.uint64], bits: int, table: int) -> NDArray[np.uint32]:
    """The value of one chunk of each code, uint32 [n]."""
    word, shift = divmod(table * bits, 64)
    value = codes[:, word] >> np.uint64(shift)
    if shift + bits > 64:
        value = value | (codes[:, word + 1] << np.uint64(64 - shift))
    return np.asarray(value & np.uint64((1 << bits) - 1), np.uint32)
