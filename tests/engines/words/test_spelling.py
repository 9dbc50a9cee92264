"""Typing errors, against a search through all words with a distance worked out letter by letter."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.words.spelling import Spelling, allowed_edits, edits

WORD = st.text("abc", min_size=1, max_size=7)


@cache
def slow_edits(a: str, b: str) -> int:
    """The same distance by its recursive definition."""
    if not a or not b:
        return len(a) + len(b)
    ways = [slow_edits(a[:-1], b) + 1, slow_edits(a, b[:-1]) + 1, slow_edits(a[:-1], b[:-1]) + (a[-1] != b[-1])]
    if len(a) > 1 and len(b) > 1 and a[-2:] == b[-1] + b[-2]:
        ways.append(slow_edits(a[:-2], b[:-2]) + 1)
    return min(ways)


@given(WORD, WORD)
def test_edits_are_counted_as_defined(a: str, b: str) -> None:
    assert edits(a, b) == slow_edits(a, b)


@settings(max_examples=200)
@given(st.lists(st.text("abcd", min_size=3, max_size=10), min_size=1, max_size=8), st.text("abcd", max_size=11))
def test_the_nearest_word_is_that_of_a_search_through_all(words: list[str], typed: str) -> None:
    most = allowed_edits(typed)
    near = [
        (slow_edits(typed, word), word)
        for word in words
        if word[:1] == typed[:1] and slow_edits(typed, word) <= min(most, allowed_edits(word) or 1)
    ]
    expected = min(near)[1] if near and most else None
    assert Spelling(words).nearest(typed) == expected


@pytest.mark.parametrize(
    ("typed", "known"),
    [
        ("botle", "bottle"),
        ("botttle", "bottle"),
        ("bottel", "bottle"),
        ("bpttle", "bottle"),
        ("boat", None),  # four letters are another word more often
        ("cottle", None),  # nobody mistypes the first letter
        ("sunglases", "sunglasses"),
        ("snglasess", "sunglasses"),
        ("b" * 5000, None),
        ("", None),
    ],
)
def test_usual_typing_errors(typed: str, known: str | None) -> None:
    assert Spelling(["bottle", "coat", "sunglasses"]).nearest(typed) == known
