"""What is known of a listing besides its photos, and whether it speaks against one product for two listings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.predictions import Summary

NO_LABELS: Mapping[str, frozenset[str]] = {}


@dataclass(frozen=True, slots=True)
class Attributes:
    """The category that the seller gave (None: none), and by head the labels that the stored summary offers."""

    category: str | None = None
    labels: Mapping[str, frozenset[str]] = field(default_factory=dict)


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


def _plain(category: str) -> str:
    return " ".join(category.casefold().split())
