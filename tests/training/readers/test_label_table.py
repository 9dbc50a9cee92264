"""labels.csv as spreadsheets write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import ConfigError
from training.readers.label_table import read_rows


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes("\ufeffpath,label\na.jpg,hät\n".encode())
    assert read_rows(tmp_path) == [{"path": "a.jpg", "label": "hät"}]


def test_another_encoding_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes("path,label\na.jpg,hät\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="save it as UTF-8"):
        read_rows(tmp_path)
