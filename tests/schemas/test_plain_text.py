"""Text of strangers: nothing of it steers a terminal, a page, or the reader's eye."""

from __future__ import annotations

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from schemas.plain_text import escaped_json, plain

OVERRIDE, ISOLATE = "\u202e", "\u2067"
STEERING = {"Cc", "Zl", "Zp"}
BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def steers(character: str) -> bool:
    """By the Unicode database, which the module does not use."""
    marks = {"\u061c", "\u200e", "\u200f"}
    return unicodedata.category(character) in STEERING or unicodedata.bidirectional(character) in BIDI | marks


def test_a_title_shows_the_words_that_it_has() -> None:
    assert plain(f"invoice{OVERRIDE}gpj.exe") == "invoicegpj.exe"
    assert plain(f"{ISOLATE}red\r\n\tmug\x1b[31m\x07") == "red mug[31m"
    for kept in ("Größe 42 – ½ price", "כיסא עץ", "キッチン用マグ", "👩‍👩‍👧 mug", "naïve"):
        assert plain(kept) == kept


@given(st.text())
def test_nothing_that_steers_is_left(text: str) -> None:
    assert not any(steers(character) for character in plain(text))
    written = escaped_json(json.dumps(text, ensure_ascii=False))
    assert json.loads(written) == text
    assert not any(steers(character) for character in written)
