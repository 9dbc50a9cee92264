"""Columns that have one value for each product."""

from __future__ import annotations

from training.readers.label_table import Row
from training.weak.gallery import determined


def test_what_a_product_decides() -> None:
    rows: list[Row] = [
        {"path": "1", "split": "train", "product": "a", "coarse": "x", "title": "one", "maker": ""},
        {"path": "2", "split": "train", "product": "a", "coarse": "x", "title": "two", "maker": "m"},
        {"path": "3", "split": "train", "product": "b", "coarse": "x", "title": "two", "maker": ""},
    ]
    assert determined(rows, "product") == ["coarse", "maker"]
