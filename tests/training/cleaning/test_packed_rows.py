"""Packed rows are the rows, whatever their columns and letters, and take little memory."""

from __future__ import annotations

import tracemalloc

import pytest

from training.cleaning.packed_rows import PackedRows, Paths

ROWS = [
    {"path": "mug/ä.jpg", "split": "train", "product": "mug"},
    {"path": "b.jpg", "title": "a\0b\nc", "product": ""},
    {"path": "mug/c.jpg", "split": "test", "product": "mug"},
    {"product": "x" * 70_000, "path": "d.jpg"},
]


def test_packed_rows_are_the_rows() -> None:
    rows = PackedRows(iter(ROWS))
    assert list(rows) == ROWS
    assert [rows[i] for i in range(4)] == ROWS
    assert rows[-1] == ROWS[3]
    assert rows[1:3] == ROWS[1:3]
    assert rows[::2] == ROWS[::2]
    assert len(rows) == 4
    assert rows.columns() == ["path", "split", "product", "title"]
    with pytest.raises(IndexError):
        rows[4]
    rows[0]["split"] = "changed"
    assert rows[0] == ROWS[0]


def test_paths_are_a_column_of_the_rows() -> None:
    paths = Paths(PackedRows(ROWS))
    expected = [row["path"] for row in ROWS]
    assert list(paths) == expected
    assert paths[1:] == expected[1:]
    assert (paths[0], paths[-1], len(paths)) == ("mug/ä.jpg", "d.jpg", 4)
    assert len(PackedRows([])) == len(Paths(PackedRows([]))) == 0


def test_a_row_takes_less_than_80_bytes() -> None:
    tracemalloc.start()
    rows = PackedRows(
        {"path": f"product-{i // 10:05d}/{i:07d}.jpg", "split": "train", "product": f"product-{i // 10:05d}"}
        for i in range(20_000)
    )
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(rows) == 20_000
    assert taken < 80 * len(rows)
