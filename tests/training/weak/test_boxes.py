"""Boxes of a detector from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import ConfigError
from training.weak import read_boxes


@pytest.mark.parametrize(
    "text",
    ["path,left,top,right,bottom\na,0,0,2,1\n", "path,left\na,0\n", "path,x0,y0,x1,y1,W,H\na,1,1,2,2,0,0\n", "p\n1\n"],
)
def test_a_row_that_is_no_box_is_named_by_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(ConfigError, match=r"boxes\.csv:2: .*; a row has path and left"):
        read_boxes(tmp_path / "boxes.csv")
