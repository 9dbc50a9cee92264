"""Search words from what sellers wrote: the labels of the multi-label query head.

A stand-in for the (query, clicked photo) logs of a marketplace: the words of titles and names, cleaned, with a
minimum number of photos a word (`labels.build_labels` applies it).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# every text column of a labels.csv that a buyer could have typed a word of
QUERY_COLUMN = "query"  # what the head calls its column; no labels.csv has it
QUERY_COLUMNS = ("title", "productDisplayName", "product", "coarse", "label", "articleType", "baseColour")
_STOP_TEXT = """
    and class for free from left like new off one only pack pick set the used with delivery barely vintage handmade
    lovely small large men mens man women womens woman unisex others not sure med utan
"""
STOP_WORDS = frozenset(_STOP_TEXT.split())
# "men" and "women" are the gender head's business and stand in nearly every fashion title


def query_words(row: Mapping[str, str]) -> frozenset[str]:
    """Words of a row's text columns: lower case, letters only, at least 3 and no stop words."""
    words: set[str] = set()
    for column in QUERY_COLUMNS:
        text = re.sub(r"[-_/]", " ", row.get(column) or "")
        for word in re.findall(r"[^\W\d_]{3,}", text.lower()):
            if word not in STOP_WORDS:
                words.add(word)
    return frozenset(words)
