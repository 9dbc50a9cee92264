"""The same codes in other indexes: plain FAISS and usearch, built once, without updates."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint8]
Distances = npt.NDArray[np.int64]
BITS = 256


@dataclass(frozen=True, slots=True)
class Rival:
    """Another index. `search` takes one hash, uint8 [1, 32], and k, and returns distances [k] in bits (-1 if there are
    fewer)."""

    name: str
    search: Callable[[Codes, int], Distances]
    build_s: float
    bytes_a_code: float
    note: str = ""


def rivals(codes: Codes, lists: int, probes: int, *, links: bool) -> Iterator[Rival]:
    """Yield one index after another. Each may be dropped before the next is built. `links`: also usearch's graph."""
    import faiss

    faiss.omp_set_num_threads(1)
    any_faiss: Any = faiss
    flat = any_faiss.IndexBinaryFlat(BITS)
    yield _faiss("FAISS Flat", flat, codes, 32)
    quantizer = any_faiss.IndexBinaryFlat(BITS)
    ivf = any_faiss.IndexBinaryIVF(quantizer, BITS, lists)
    ivf.cp.niter, ivf.nprobe = 6, probes
    began = time.perf_counter()
    ivf.train(codes[np.random.default_rng(0).choice(len(codes), min(len(codes), 40 * lists), replace=False)])
    trained = time.perf_counter() - began
    yield _faiss(f"FAISS IVF, {lists} lists, {probes} read", ivf, codes, 40, spent=trained)
    hashed = any_faiss.IndexBinaryMultiHash(BITS, 16, 16)
    hashed.nflip = 1
    tables = 16 * max(1, (len(codes) - 1).bit_length()) / 8
    yield _faiss("FAISS MultiHash, 16 × 16 bits, 1 flip", hashed, codes, 32 + tables, note="bytes without its buckets")
    if links:
        yield _usearch(codes)


def _faiss(name: str, index: Any, codes: Codes, size: float, *, spent: float = 0.0, note: str = "") -> Rival:
    began = time.perf_counter()
    index.add(codes)

    def search(code: Codes, k: int) -> Distances:
        distances, rows = index.search(code, k)
        return np.where(rows[0] < 0, -1, distances[0]).astype(np.int64)

    return Rival(name, search, time.perf_counter() - began + spent, size, note)


def _usearch(codes: Codes) -> Rival:
    from usearch.index import Index

    index: Any = Index(ndim=BITS, metric="hamming", dtype="b1", connectivity=16, expansion_add=64, expansion_search=128)
    began = time.perf_counter()
    index.add(np.arange(len(codes)), codes, threads=2)
    built = time.perf_counter() - began

    def search(code: Codes, k: int) -> Distances:
        return np.asarray(index.search(code[0], k, threads=1).distances).astype(np.int64)

    return Rival(
        "usearch HNSW, 16 links, 128 kept", search, built, index.memory_usage / len(codes), "built on 2 threads"
    )
