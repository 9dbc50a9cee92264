"""Reads the selectors out of PromQL expressions: names of series with their matchers, without windows."""

from __future__ import annotations

import re

from workers.watching import metrics  # noqa: F401 (declares them)
from workers.watching.declared import DECLARED

_SELECTOR = re.compile(r"(?<![\w:\"])(groknet_\w+|job:\w+(?::\w+)*|up|process_\w+)(?![\w(:])(\{[^}]*\})?")


def selectors_of(expr: str) -> list[tuple[str, str]]:
    """Every selector of an expression: the name of the series, and its matchers with braces (empty without any)."""
    plain = re.sub(r"\b(?:by|on|without) \([^)]*\)", "", expr)
    return [(name, matchers or "") for name, matchers in _SELECTOR.findall(plain)]


def series_of(expr: str) -> set[str]:
    """The names of all series of an expression."""
    return {name for name, _ in selectors_of(expr)}


def declared_series() -> set[str]:
    """The names of the series of every declared metric."""
    return {name for one in DECLARED.values() for name in one.series}
