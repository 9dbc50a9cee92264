"""Search queries in their normal form: what is the same query, what its terms are, and what is no query.

Scripts differ in three ways. Letters of Indic scripts are made of several characters, so marks belong to words. Latin,
Greek and Cyrillic letters are often typed without their accents, so these do not tell queries apart. Chinese,
Japanese, Thai, Lao, Khmer and Burmese are written without blanks, so blanks between their letters mean nothing, and
their terms are pairs of characters (bigrams, as search engines index them without a dictionary).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # Japanese kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
_BLANK_BETWEEN = re.compile(rf"(?<=[{_UNSPACED}]) (?=[{_UNSPACED}])")
_RUNS = re.compile(rf"[{_UNSPACED}]+|[^{_UNSPACED} ]+")
_UNSPACED_START = re.compile(rf"[{_UNSPACED}]")
_PERSONAL = re.compile(r"\d(?:[\s()./-]?\d){6,}")  # telephone numbers
_LINK = re.compile(r"https?:|www\.|\b[\w-]+\.(?:com|net|org|ru|cn|de|uk|info|biz|shop|io)\b", re.IGNORECASE)
_REPEATS = re.compile(r"([^\W\d_])\1{4,}|\b(\w+)(?: \2\b){2,}")
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_FOLDED = ("LATIN", "GREEK", "CYRILLIC")
_OWN_LETTERS = frozenset("йЙ")  # и with a breve is a letter of its own, which nobody leaves out


def clean_query(query: str, longest: int = 80) -> tuple[str, str]:
    """The query in its normal form, and "" as the reason; or "" and the reason why it cannot be used.

    The normal form is NFKC in lower case, with letters, marks and digits of any script and single blanks; there is no
    blank between letters of scripts that are written without. A query cannot be used if it is empty, longer than
    `longest` characters, has no letter, contains an e-mail address, a telephone number or a web address, or repeats a
    letter five times or a word three times (spam).
    """
    if "@" in query or _PERSONAL.search(query):
        return "", "query_personal"
    if _LINK.search(query):
        return "", "query_link"
    text = normal_form(query)
    if not text:
        return "", "query_empty"
    if len(text) > longest:
        return "", "query_too_long"
    if not re.search(r"[^\W\d_]", text):
        return "", "query_without_letter"
    return ("", "query_spam") if _REPEATS.search(text) else (text, "")


def normal_form(text: str) -> str:
    """The normal form of any text, as `clean_query` has it; empty if the text has no letter, mark or digit."""
    text = unicodedata.normalize("NFKC", text).casefold()
    text = " ".join(_ASCII_WORD.findall(text) if text.isascii() else _words(text))
    return text if text.isascii() else _BLANK_BETWEEN.sub("", text)


def signs(text: str) -> Iterator[str]:
    """The smallest parts of a text in normal form that a phrase may begin or end with: words, and in scripts without
    blanks each character with the marks that follow it."""
    for word in text.split(" "):
        for run in _RUNS.findall(word):
            if not _UNSPACED_START.match(run):
                yield run
                continue
            start = 0
            for place in range(1, len(run) + 1):
                if place == len(run) or unicodedata.category(run[place])[0] != "M":
                    yield run[start:place]
                    start = place


@lru_cache(maxsize=100_000)
def query_key(text: str) -> str:
    """What all ways of writing one query have in common: `clean_query`'s text without the accents of Latin, Greek and
    Cyrillic letters. Marks of other scripts stay, because they are vowels."""
    if text.isascii():
        return text
    folded = "".join(_plain_letter(letter) for letter in unicodedata.normalize("NFC", text))
    return unicodedata.normalize("NFC", folded)


def terms(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(word, its terms) of a clean query: a word is its own term, and a run of a script without blanks has the pairs of
    its characters, or the one character that it is."""
    for word in text.split(" "):
        for run in _RUNS.findall(word):
            if _UNSPACED_START.match(run) and len(run) > 2:
                yield run, tuple(run[place : place + 2] for place in range(len(run) - 1))
            else:
                yield run, (run,)


def _words(text: str) -> list[str]:
    """Runs of letters, digits and marks. Joiners inside a word are left out; they change its look alone."""
    signs = []
    for sign in text:
        kind = unicodedata.category(sign)
        if kind[0] in "LNM":
            signs.append(sign)
        elif sign not in "\u200c\u200d":
            signs.append(" ")
    return "".join(signs).split()


def _plain_letter(letter: str) -> str:
    if letter.isascii() or letter in _OWN_LETTERS:
        return letter
    parts = unicodedata.normalize("NFD", letter)
    if len(parts) > 1 and unicodedata.name(parts[0], "").startswith(_FOLDED):
        return parts[0]
    return letter
