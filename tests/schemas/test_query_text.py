"""Queries in many scripts, against forms written by hand."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.query_text import clean_query, query_key, terms


@pytest.mark.parametrize(
    ("query", "clean"),
    [
        ("हिन्दी किताब", "हिन्दी किताब"),  # vowel signs belong to the word
        ("தமிழ் நூல்", "தமிழ் நூல்"),
        ("كِتَاب", "كِتَاب"),
        ("红 色 杯子", "红色杯子"),
        ("ﾏｸﾞｶｯﾌﾟ　白", "マグカップ白"),
        ("แก้ว กาแฟ", "แก้วกาแฟ"),
        ("iPhone 15 手机壳 蓝", "iphone 15 手机壳蓝"),
        ("파란 머그컵", "파란 머그컵"),  # Korean has blanks
        ("İSTANBUL", "i̇stanbul"),
        ("Cafe\u0301", "café"),
        ("ﬁne mug", "fine mug"),
        ("mi\u200cxed", "mixed"),
    ],
)
def test_every_script_keeps_its_words(query: str, clean: str) -> None:
    assert clean_query(query) == (unicodedata.normalize("NFC", clean), "")


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("buy at https://spam.example/x", "query_link"),
        ("cheap-bags.com bags", "query_link"),
        ("heeeeello", "query_spam"),
        ("sale sale sale", "query_spam"),
        ("coffee coffee table", ""),
        ("aaaa battery", ""),
        ("no. 5", ""),
    ],
)
def test_spam_is_refused(query: str, reason: str) -> None:
    assert clean_query(query)[1] == reason


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("café", "cafe", True),
        ("crème brûlée", "creme brulee", True),
        ("καφές", "καφες", True),
        ("ёлка", "елка", True),
        ("чай", "чаи", False),  # й is a letter of its own
        ("किताब", "कताब", False),  # a vowel sign is no accent
        ("がくせい", "かくせい", False),
        ("mug", "mugs", False),
    ],
)
def test_only_accents_are_folded(one: str, other: str, same: bool) -> None:
    assert (query_key(one) == query_key(other)) is same


def test_terms_are_words_or_pairs_of_characters() -> None:
    assert list(terms("blue mug")) == [("blue", ("blue",)), ("mug", ("mug",))]
    assert list(terms("蓝色杯子 xl")) == [("蓝色杯子", ("蓝色", "色杯", "杯子")), ("xl", ("xl",))]
    assert list(terms("iphone手机 茶")) == [("iphone", ("iphone",)), ("手机", ("手机",)), ("茶", ("茶",))]


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40))
def test_the_normal_form_is_its_own_normal_form(text: str) -> None:
    clean, reason = clean_query(text)
    if not reason:
        assert clean_query(clean) == (clean, "")
        assert query_key(query_key(clean)) == query_key(clean)
