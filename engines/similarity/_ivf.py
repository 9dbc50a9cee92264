"""The codes of a large sealed part in inverted lists (FAISS IndexBinaryIVF): a search reads only the nearest lists.

k-means learns the lists' centres once. Later parts share them, so a merge assigns only new codes. The centres are
learned again when a part holds four times as many codes as they were learned for.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from engines.similarity._directory import Moved
from engines.similarity._flat import BITS, Codes, FlatCodes, Found
from engines.similarity.types import CODE_BYTES, IndexLimits

_SAMPLE = 40  # codes for each list to learn its centre from; FAISS warns below 39
_ROUNDS = 6  # of k-means: later rounds change the share of right neighbours by less than .002
_GROWTH = 4
_BREATH_S = 0.0002  # sleep after each list of a merge: many short calls would leave readers no time
_GONE = np.iinfo(np.uint32).max


class SealedCodes(Protocol):
    """The codes of a sealed part. Rows are numbered from 0."""

    def __len__(self) -> int: ...

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""

    @property
    def near(self) -> int:
        """The radius in bits up to which `within` is exact and cheap; 0 means none."""

    def search(self, hashes: Codes, n: int) -> Found:
        """Return the n nearest rows of each of `hashes`, uint8 [q, 32]: distances int32 [q, n] in bits and rows int64
        [q, n], nearest first. The row is -1 if there are no more."""

    def within(self, code: Codes, bits: int) -> Found:
        """Return every row within `bits` bits of one hash uint8 [1, 32], in no order."""

    def take(self, rows: npt.NDArray[Any]) -> Codes:
        """Return the codes of some rows, uint8 [n, 32]."""

    def arrays(self) -> dict[str, list[npt.NDArray[Any]]]:
        """Return the arrays of a snapshot, each in pieces, with their own shapes and dtypes."""


class IvfCodes:
    """Rows in inverted lists. Immutable after `_seal`."""

    near = 0  # `search` finds near duplicates, because they are in the nearest lists

    def __init__(self, centres: Codes, learned_for: int, rows: int, limits: IndexLimits) -> None:
        import faiss

        self.centres = np.ascontiguousarray(centres)
        self.learned_for = learned_for
        self._quantizer = faiss.IndexBinaryFlat(BITS)
        self._quantizer.add(self.centres)
        self._lists = len(centres)
        self._ivf = faiss.IndexBinaryIVF(self._quantizer, BITS, self._lists)
        self._ivf.own_fields = False
        self._ivf.nprobe = min(self._lists, limits.probes or max(128, self._lists // 16))
        self._place = np.empty(rows, np.uint32)
        self._begins = np.zeros(self._lists + 1, np.int64)

    def __len__(self) -> int:
        return int(self._ivf.ntotal)

    @property
    def nbytes(self) -> int:
        """The size in bytes: codes, FAISS's 8-byte row numbers, and where each row is."""
        return len(self) * (CODE_BYTES + 8) + self._place.nbytes + 2 * self.centres.nbytes + self._begins.nbytes

    @property
    def outgrown(self) -> bool:
        """Whether the centres should be learned again."""
        return len(self) > _GROWTH * self.learned_for

    def search(self, hashes: Codes, n: int) -> Found:
        """Return the n nearest rows of the probed lists for each of `hashes`, uint8 [q, 32]: distances int32 [q, n] in
        bits and rows int64 [q, n], nearest first. The row is -1 if the lists hold fewer."""
        distances, rows = self._ivf.search(hashes, n)
        return distances, rows

    def within(self, code: Codes, bits: int) -> Found:
        """Return every row of the probed lists within `bits` bits of one hash uint8 [1, 32]."""
        _, distances, rows = self._ivf.range_search(code, bits + 1)
        return distances.astype(np.int32), rows

    def take(self, rows: npt.NDArray[Any]) -> Codes:
        """Return the codes of some rows, uint8 [n, 32]."""
        places = self._place[rows].astype(np.int64)
        order = np.argsort(places, kind="stable")
        codes = np.empty((len(places), CODE_BYTES), np.uint8)
        lists = self._begins.searchsorted(places[order], side="right") - 1
        for one, first, count in zip(*np.unique(lists, return_index=True, return_counts=True), strict=True):
            mine = order[first : first + count]
            codes[mine] = self._list(int(one))[1][places[mine] - self._begins[one]]
        return codes

    def _list(self, number: int) -> tuple[npt.NDArray[np.int64], Codes]:
        """Return rows and codes of one list without a copy. Valid while the index lives."""
        import faiss

        lists = self._ivf.invlists
        count = lists.list_size(number)
        if not count:
            return np.empty(0, np.int64), np.empty((0, CODE_BYTES), np.uint8)
        rows = faiss.rev_swig_ptr(lists.get_ids(number), count)
        codes = faiss.rev_swig_ptr(lists.get_codes(number), count * CODE_BYTES)
        return np.asarray(rows), np.asarray(codes).reshape(-1, CODE_BYTES)

    def _fill(self, number: int, rows: npt.NDArray[np.int64], codes: Codes) -> None:
        import faiss

        rows, codes = np.ascontiguousarray(rows, np.int64), np.ascontiguousarray(codes)
        begin = self._begins[number]
        self._begins[number + 1] = begin + len(rows)
        if len(rows):
            self._ivf.invlists.add_entries(number, len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(codes))
            self._place[rows] = np.arange(begin, begin + len(rows), dtype=np.uint32)

    def _seal(self) -> None:
        self._ivf.ntotal = int(self._begins[-1])

    def assign(self, codes: Codes) -> npt.NDArray[np.int64]:
        """Return the list of each code, int64 [n]."""
        _, lists = self._quantizer.search(np.ascontiguousarray(codes), 1)
        return np.asarray(lists[:, 0])

    def arrays(self) -> dict[str, list[npt.NDArray[Any]]]:
        """Return the arrays of a snapshot, each in pieces: in the order of the lists `codes` uint8 [n, 32] and the rows
        `order` uint32 [n]; and for each list `sizes` int64 [lists] and `centres` uint8 [lists, 32]."""
        lists = [self._list(number) for number in range(self._lists)]
        return {
            "codes": [codes for _, codes in lists],
            "order": [rows.astype(np.uint32) for rows, _ in lists],
            "sizes": [np.diff(self._begins)],
            "centres": [self.centres],
        }

    @classmethod
    def restored(cls, arrays: dict[str, npt.NDArray[Any]], learned_for: int, limits: IndexLimits) -> IvfCodes:
        """Rebuild it from the result of `arrays`, with the same shapes and dtypes. Raises ValueError if the lengths do
        not match."""
        codes, order, sizes = arrays["codes"], arrays["order"], arrays["sizes"]
        made = cls(arrays["centres"], learned_for, len(codes), limits)
        if len(order) != len(codes) or sizes.sum() != len(codes) or len(sizes) != made._lists:
            raise ValueError("lists and codes do not fit")
        begin = 0
        for number, size in enumerate(sizes.tolist()):
            made._fill(number, order[begin : begin + size], codes[begin : begin + size])
            begin += size
        made._seal()
        return made

    def moved(
        self, new_of_old: npt.NDArray[np.uint32], rows: npt.NDArray[Any], codes: Codes, total: int, limits: IndexLimits
    ) -> IvfCodes:
        """Return these codes under new row numbers, without `_GONE` rows, and with more codes added.

        `new_of_old` is uint32 [rows now]. `codes` uint8 [n, 32] are added at `rows`, any integer type [n].
        """
        made = IvfCodes(self.centres, self.learned_for, total, limits)
        lists = made.assign(codes) if len(codes) else np.empty(0, np.int64)
        order = np.argsort(lists, kind="stable")
        bounds = lists[order].searchsorted(np.arange(self._lists + 1))
        for number in range(self._lists):
            mine = order[bounds[number] : bounds[number + 1]]
            held, old = self._list(number)
            new = new_of_old[held]
            stays = new != _GONE
            made._fill(number, np.concatenate([new[stays], rows[mine]]), np.concatenate([old[stays], codes[mine]]))
            time.sleep(_BREATH_S)
        made._seal()
        return made


def merge_codes(parts: Sequence[tuple[SealedCodes | Codes, Moved]], total: int, limits: IndexLimits) -> SealedCodes:
    """Join the codes of several parts (uint8 [n, 32]) under new row numbers, `total` in all. The size of the result
    decides which kind it is."""
    lists = next((codes for codes, _ in parts if isinstance(codes, IvfCodes)), None)
    if total >= limits.exact_below and lists is not None and not lists.outgrown:
        others = [(codes, moved) for codes, moved in parts if codes is not lists]
        moved = next(moved for codes, moved in parts if codes is lists)
        new_of_old = np.full(len(lists), _GONE, np.uint32)
        new_of_old[moved.old] = moved.new
        more = [_taken(codes, where.old) for codes, where in others]
        rows = [where.new for _, where in others]
        empty = (np.empty((0, CODE_BYTES), np.uint8), np.empty(0, np.uint32))
        return lists.moved(
            new_of_old, np.concatenate([*rows, empty[1]]), np.concatenate([*more, empty[0]]), total, limits
        )
    gathered = np.empty((total, CODE_BYTES), np.uint8)
    for codes, moved in parts:
        gathered[moved.new] = _taken(codes, moved.old)
    if total < limits.exact_below:
        return FlatCodes(gathered, limits)
    return learn(gathered, limits)


def _taken(codes: SealedCodes | Codes, rows: npt.NDArray[Any]) -> Codes:
    return codes[rows] if isinstance(codes, np.ndarray) else codes.take(rows)


def learn(codes: Codes, limits: IndexLimits) -> IvfCodes:
    """Make inverted lists for uint8 [n, 32]: about √n lists, learned from a sample. Deterministic."""
    import faiss

    count = 2 ** max(1, round(np.log2(len(codes)) / 2))
    sample = np.random.default_rng(0).choice(len(codes), min(len(codes), _SAMPLE * count), replace=False)
    quantizer: Any = faiss.IndexBinaryFlat(BITS)
    trained: Any = faiss.IndexBinaryIVF(quantizer, BITS, count)
    trained.cp.niter = _ROUNDS
    trained.cp.min_points_per_centroid = 1
    trained.train(np.ascontiguousarray(codes[np.sort(sample)]))
    centres = faiss.rev_swig_ptr(quantizer.xb.data(), count * CODE_BYTES)
    made = IvfCodes(np.array(centres, np.uint8).reshape(-1, CODE_BYTES), len(codes), len(codes), limits)
    lists = made.assign(codes)
    order = np.argsort(lists, kind="stable")
    bounds = lists[order].searchsorted(np.arange(count + 1))
    for number in range(count):
        mine = order[bounds[number] : bounds[number + 1]]
        made._fill(number, mine, codes[mine])
        time.sleep(_BREATH_S)
    made._seal()
    return made
