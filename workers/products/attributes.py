"""What is known of a listing besides its photos, and whether it speaks against one product for two listings."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Set
from dataclasses import dataclass, field

from schemas.predictions import Summary

NO_LABELS: Mapping[str, frozenset[str]] = {}


@dataclass(frozen=True, slots=True)
class Attributes:
    """The category that the seller gave (None: none), and by head the labels that the stored summary offers."""

    category: str | None = None
    labels: Mapping[str, frozenset[str]] = field(default_factory=dict)
    kind: Hashable = field(init=False, compare=False, repr=False)
    """Equal for listings of which the same is known."""

    def __post_init__(self) -> None:
        """Make the kind once, because it is compared often."""
        category = None if self.category is None else _plain(self.category)
        object.__setattr__(self, "kind", (category, frozenset(self.labels.items())))


def offered_labels(summary: Summary) -> dict[str, frozenset[str]]:
    """The offered labels of each head. A head that offers none is left out."""
    found = {
        head: frozenset(one.label for one in labels if one.offered) for head, labels in summary.predictions.items()
    }
    return {head: labels for head, labels in found.items() if labels}


def contradict(one: Attributes, other: Attributes, most: int = 0) -> bool:
    """Whether two listings cannot be one product: their sellers gave different categories, or more than `most` heads
    offer labels of both and have none in common. What is not known contradicts nothing."""
    if one.category is not None and other.category is not None and _plain(one.category) != _plain(other.category):
        return True
    differ = sum(labels.isdisjoint(other.labels.get(head, labels)) for head, labels in one.labels.items())
    return differ > most


class Agreements:
    """Whether listings may be one product. It compares each two kinds once, so it is for one plan only."""

    def __init__(self, attributes: Mapping[str, Attributes], most: int) -> None:
        """`attributes`: of every listing that is asked for; it may grow."""
        self._attributes, self._most = attributes, most
        self._numbers: dict[Hashable, int] = {}
        self._kinds: dict[str, int] = {}
        self._known: dict[tuple[int, int], bool] = {}

    def kind(self, listing_id: str) -> int:
        """Equal for listings that agree with the same others, and with each other."""
        found = self._kinds.get(listing_id)
        if found is None:
            found = self._numbers.setdefault(self._attributes[listing_id].kind, len(self._numbers))
            self._kinds[listing_id] = found
        return found

    def agree(self, one: str, other: str) -> bool:
        """Whether nothing contradicts that two listings are one product."""
        pair = self.kind(one), self.kind(other)
        found = self._known.get(pair)
        if found is None:
            found = not contradict(self._attributes[one], self._attributes[other], self._most)
            self._known[pair] = self._known[pair[::-1]] = found
        return found

    def agreeing(self, listing_id: str, others: Set[str]) -> Set[str]:
        """Those of the others that agree with a listing."""
        kinds = {self.kind(other): other for other in others}
        if all(self.agree(listing_id, other) for other in kinds.values()):
            return others
        return {other for other in others if self.agree(listing_id, other)}


def _plain(category: str) -> str:
    return " ".join(category.casefold().split())
