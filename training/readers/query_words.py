"""Search words from what sellers wrote: the labels of the multi-label query head.

They stand in for a marketplace's log of queries and clicked photos. The words of titles and names are cleaned here;
`training/data/labels.py` keeps those with enough photos.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

QUERY_COLUMN = "query"  # the column that such a head names; no labels.csv has it
# the columns of a labels.csv whose words a buyer may search for
QUERY_COLUMNS = ("title", "productDisplayName", "product", "coarse", "label", "articleType", "baseColour")
_STOP_TEXT = """
    and class for free from left like new off one only pack pick set the used with delivery barely vintage handmade
    lovely small large men mens man women womens woman unisex others not sure med utan
"""
STOP_WORDS = frozenset(_STOP_TEXT.split())
# "men" and "women" are in nearly every fashion title, and the gender head predicts them


def query_words(row: Mapping[str, str]) -> frozenset[str]:
    """The words of a row's text columns: lower case, at least 3 letters, no stop words."""
    words: set[str] = set()
    for column in QUERY_COLUMNS:
        text = re.sub(r"[-_/]", " ", row.get(column) or "")
        for word in re.findall(r"[^\W\d_]{3,}", text.lower()):
            if word not in STOP_WORDS:
                words.add(word)
    return frozenset(words)
