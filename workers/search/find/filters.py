"""Restricts a search to listings of some categories and states."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Filters:
    """Keeps listings that have one of these categories and one of these states. An empty set keeps all."""

    categories: frozenset[str] = frozenset()
    states: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.categories or self.states)

    def pass_(self, category: str | None, state: str) -> bool:
        """Whether a listing of this category and state passes."""
        return (not self.categories or category in self.categories) and (not self.states or state in self.states)


ANY = Filters()
