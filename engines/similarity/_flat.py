"""The codes of a sealed part that is searched exactly: every search reads all of them.

It is a FAISS flat index, on a GPU if the limits ask for one. From `IndexLimits.multihash_from` codes on it also has a
multi-index hash, which finds near duplicates without reading every code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from engines.similarity.types import CODE_BYTES, IndexLimits
from schemas.errors import ConfigError

Codes = npt.NDArray[np.uint8]
Found = tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]
BITS = 8 * CODE_BYTES
TABLES = 16  # of the multi-index hash, with 16 bits each: Norouzi, Punjani, Fleet, CVPR 2012
FLIPS = 1
SURE_BITS = TABLES * (FLIPS + 1) - 1
"""Two codes that differ in at most so many bits differ in at most one bit in some piece of 16 bits."""


class FlatCodes:
    """Rows in order. Immutable after it is built."""

    def __init__(self, codes: Codes, limits: IndexLimits) -> None:
        """Build it from uint8 [n, 32]. The multi-index hash takes 3 µs a code, without the interpreter lock."""
        import faiss

        self._flat: Any = faiss.IndexBinaryFlat(BITS)
        self._hashed: Any = None
        codes = np.ascontiguousarray(codes)
        if 0 < limits.multihash_from <= len(codes):
            self._hashed = faiss.IndexBinaryMultiHash(BITS, TABLES, BITS // TABLES)
            self._hashed.nflip = FLIPS
            self._hashed.add(codes)
            self._flat = self._hashed.storage  # the same codes, freed together with the hash
        elif len(codes):
            self._flat.add(codes)
        self._gpu = _on_gpu(self._flat) if limits.gpu and len(codes) else None

    def __len__(self) -> int:
        return int(self._flat.ntotal)

    @property
    def nbytes(self) -> int:
        """The size in bytes: the codes, and for a multi-index hash one row number for each code and table."""
        return len(self) * (CODE_BYTES + (TABLES * _id_bits(len(self)) // 8 if self._hashed else 0))

    @property
    def near(self) -> int:
        """The radius in bits up to which `within` is exact without reading all codes; 0 without a multi-index hash."""
        return SURE_BITS if self._hashed else 0

    def search(self, hashes: Codes, n: int) -> Found:
        """Return the n nearest rows of each hash, nearest first: distances int32 [q, n], rows int64 [q, n]."""
        distances, rows = (self._gpu or self._flat).search(hashes, n)
        return distances, rows

    def within(self, code: Codes, bits: int) -> Found:
        """Return every row within `bits` bits of one hash uint8 [1, 32], in no order."""
        index = self._hashed if self._hashed and bits <= SURE_BITS else self._flat
        _, distances, rows = index.range_search(code, bits + 1)  # FAISS excludes the radius itself
        return distances.astype(np.int32), rows

    def take(self, rows: npt.NDArray[Any]) -> Codes:
        """Return the codes of some rows, uint8 [n, 32]."""
        return np.asarray(self._all()[rows])

    def _all(self) -> Codes:
        """Return all codes without a copy. Valid while the index lives."""
        import faiss

        if not len(self):
            return np.empty((0, CODE_BYTES), np.uint8)
        flat = faiss.rev_swig_ptr(self._flat.xb.data(), len(self) * CODE_BYTES)
        return np.asarray(flat, np.uint8).reshape(-1, CODE_BYTES)

    def arrays(self) -> dict[str, list[npt.NDArray[Any]]]:
        """Return the arrays of a snapshot, each in pieces: `codes` uint8 [n, 32]."""
        return {"codes": [self._all()]}


def _id_bits(count: int) -> int:
    return max(1, (count - 1).bit_length())


def require_gpu() -> None:
    """Raise ConfigError if FAISS has no GPU to use."""
    import faiss

    if not hasattr(faiss, "GpuIndexBinaryFlat") or faiss.get_num_gpus() < 1:
        text = "indexer.gpu: this FAISS finds no GPU; install 'groknet[gpu]' instead of [cpu], or set it to false"
        raise ConfigError(text)


def _on_gpu(flat: Any) -> Any:
    """Return a copy on the first GPU."""
    import faiss

    gpu: Any = faiss  # the CPU package lacks these names
    return gpu.GpuIndexBinaryFlat(gpu.StandardGpuResources(), flat)
