"""Text of strangers without the characters that steer instead of showing something."""

from __future__ import annotations

import re

# ASCII and Latin-1 controls; marks, embeddings, overrides and isolates of the direction of writing; line separators.
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """`text` on one line: each run of white space is one space, and nothing changes the direction of writing.

    A right-to-left override in a title would otherwise show other words than it has.
    """
    return _STEERING.sub("", " ".join(text.split()))


def plain_or_none(text: str | None) -> str | None:
    """As `plain`; None stays None."""
    return None if text is None else plain(text)


def escaped_json(text: str) -> str:
    """JSON text of the same value, whose strings have their steering characters as escapes, fit for a terminal."""
    return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
