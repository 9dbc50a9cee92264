"""Search words of titles and names."""

from __future__ import annotations

import pytest
import torch

from training.readers.query_words import query_words

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"title": "The NEW red-and-blue Mug (2 pcs), free delivery"}, {"red", "blue", "mug", "pcs"}),
        ({"productDisplayName": "Nike Men's T-shirt", "baseColour": "Navy Blue"}, {"nike", "shirt", "navy", "blue"}),
        ({"title": "Äpple", "year": "2011"}, {"äpple"}),
        ({}, set()),
    ],
)
def test_query_words(row: dict[str, str], words: set[str]) -> None:
    assert query_words(row) == words
