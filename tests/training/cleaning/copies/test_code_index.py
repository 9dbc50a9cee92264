"""The index on disk against a comparison of all codes, and against codes planted at known distances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.cleaning.copies import code_index
from training.cleaning.copies.code_index import CodeIndex, shuffled, write_index
from training.cleaning.copies.hashes import distances

COUNT = 5000  # codes have chunks of 13 bits in 19 tables
SURE = 2 * 19 - 1  # bits: so many differences leave one chunk with one of them at most


def codes_and_queries() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random codes, and a query for each tenth: the same with 0 to 80 bits changed. Returns the distances, too."""
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 256, (COUNT, 32), dtype=np.uint8)
    codes[17] = codes[4000]  # the same code twice
    bits = np.unpackbits(codes[::10], axis=1)
    far = rng.integers(0, 81, len(bits))
    for row, count in zip(bits, far, strict=True):
        row[rng.choice(256, count, replace=False)] ^= 1
    return codes, np.packbits(bits, axis=1), far


def test_every_code_that_is_near_enough_is_found(tmp_path: Path) -> None:
    codes, queries, far = codes_and_queries()
    write_index(tmp_path, codes)
    owner, places, apart = CodeIndex(tmp_path).ask(queries, SURE)
    found = set(zip(owner.tolist(), places.tolist(), apart.tolist(), strict=True))
    assert len(found) == len(owner)  # each pair once
    expected = {(i, 10 * i, int(bits)) for i, bits in enumerate(far) if bits <= SURE}
    if far[400] <= SURE:
        expected.add((400, 17, int(far[400])))
    assert found == expected


def test_farther_codes_are_found_mostly_and_never_wrongly(tmp_path: Path) -> None:
    codes, queries, far = codes_and_queries()
    write_index(tmp_path, codes)
    owner, places, apart = CodeIndex(tmp_path).ask(queries, 64)
    assert apart.tolist() == distances(queries[owner], codes[places]).tolist()
    assert apart.max() <= 64
    middle = {i for i, bits in enumerate(far) if SURE < bits <= 64}
    assert 0.8 < len(middle & set(owner.tolist())) / len(middle) <= 1


@pytest.mark.parametrize("count", [1, 2, 300])
def test_few_codes_are_all_compared(count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes, queries, _ = codes_and_queries()
    write_index(tmp_path, codes[:count])
    monkeypatch.setattr(code_index, "_COMPARED", 7)
    owner, places, apart = CodeIndex(tmp_path).ask(queries, 110)
    table = np.bitwise_count(queries[:, None] ^ codes[None, :count]).sum(2, dtype=int)
    assert sorted(zip(owner, places, apart, strict=True)) == sorted(
        (i, j, table[i, j]) for i, j in np.argwhere(table <= 110)
    )
    assert len(owner)


def test_recall_does_not_fall_with_the_number_of_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes with 56 of 256 bits changed. Chunks of 16 bits miss 14 % of them; chunks of 19 bits, one for each doubling
    of 300,000 codes, would miss half. Found are those with at most one changed bit in a chunk."""
    rng = np.random.default_rng(11)
    codes = rng.integers(0, 256, (300_000, 32), dtype=np.uint8)
    bits = np.unpackbits(codes[:500], axis=1)
    for row in bits:
        row[rng.choice(256, 56, replace=False)] ^= 1
    queries = np.packbits(bits, axis=1)
    write_index(tmp_path, codes)
    owner, places, apart = CodeIndex(tmp_path).ask(queries, 64)
    assert (owner == places).sum() > 0.8 * len(queries)
    changed = (shuffled(codes[:500]) ^ shuffled(queries)).view(np.uint8)
    chunks = np.unpackbits(changed, axis=1, bitorder="little").reshape(len(queries), 16, 16)
    assert sorted(owner[owner == places]) == np.flatnonzero(chunks.sum(2).min(1) <= 1).tolist()
    for query in range(10):
        far = np.bitwise_count(queries[query] ^ codes).sum(1, dtype=int)
        assert set(places[owner == query]) <= set(np.flatnonzero(far <= 64))
    monkeypatch.setattr(code_index, "_LOOKED_AT", 5000)
    again = CodeIndex(tmp_path).ask(queries, 64)
    assert all(np.array_equal(one, other) for one, other in zip(again, (owner, places, apart), strict=True))
