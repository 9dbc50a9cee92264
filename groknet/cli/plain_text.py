"""Text of strangers, made harmless for a terminal. It imports nothing, so that every command starts quickly."""

from __future__ import annotations


def shown(text: str) -> str:
    """`text` on one line with its control characters escaped, those of the direction of writing as well."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def shown_lines(text: str) -> str:
    """As `shown`, but line ends stay."""
    return "\n".join(map(shown, text.split("\n")))
