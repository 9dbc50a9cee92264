"""What a search may be narrowed to: categories and states of listings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Filters:
    """Only listings of one of these categories, and in one of these states; empty: any."""

    categories: frozenset[str] = frozenset()
    states: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.categories or self.states)

    def pass_(self, category: str | None, state: str) -> bool:
        """Whether a listing of this category and state is wanted."""
        return (not self.categories or category in self.categories) and (not self.states or state in self.states)


ANY = Filters()
