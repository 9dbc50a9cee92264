"""Text of strangers, made harmless for a terminal. It imports nothing, so that every command starts quickly."""

from __future__ import annotations


def shown(text: str) -> str:
    """`text` on one line with its control characters escaped: what a stranger wrote must not steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
