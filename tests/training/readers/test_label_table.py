"""Which rows are catalogue photos."""

from __future__ import annotations

import pytest

from training.readers.label_table import Row, is_catalogue


@pytest.mark.parametrize(
    ("row", "catalogue"),
    [
        ({"split": "gallery"}, True),
        ({"split": "train", "domain": "Iconic"}, True),
        ({"split": "test", "domain": "gallery"}, True),
        ({"split": "train", "domain": "natural"}, False),
        ({"split": "train"}, False),
    ],
)
def test_catalogue_photos(row: Row, catalogue: bool) -> None:
    assert is_catalogue(row) == catalogue
