"""What a seller is offered while listing: category, attributes and words for the title, out of one photo."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from schemas.manifest import Manifest
from schemas.predictions import Predictions
from workers.search.answers import Suggestion
from workers.search.find.naming import Names

MAX_CATEGORIES = 5
MAX_WORDS = 8
LEAST = 0.05  # probability: what is right less than once in twenty times is no help


@dataclass(frozen=True, slots=True)
class Suggestions:
    """See `PredictAnswer`."""

    category: list[Suggestion]
    attributes: list[Suggestion]
    title_words: list[Suggestion]


class Suggester:
    """Sorts a bundle's heads by what they are for: those of several labels at once give words; of the others, those
    that learned from one of `category_columns`, or from no data set of ours at all, say what a thing is."""

    def __init__(self, manifest: Manifest, names: Names, category_columns: Collection[str]) -> None:
        self._names = names
        self._words = {head.id for head in manifest.heads if head.kind == "multi_label"}
        self._category = {
            head.id for head in manifest.heads if head.column in category_columns or not head.datasets
        } - self._words

    def suggest(self, predictions: Predictions, language: str, applies: Collection[str] | None = None) -> Suggestions:
        """Suggestions of the relevant heads: offered ones first, then by probability. `applies` is as for
        `Names.named`."""
        category: list[Suggestion] = []
        attributes: list[Suggestion] = []
        words: list[Suggestion] = []
        for head, best in self._names.named(self._names.relevant(predictions, applies), language, applies).items():
            made = [
                Suggestion(head=head, label=p.label, name=p.name, probability=p.probability, offered=p.offered)
                for p in best
                if p.offered or p.probability >= LEAST
            ]
            if head in self._words:
                words += made
            elif head in self._category:
                category += made
            else:
                attributes += made[:1]
        return Suggestions(
            category=_distinct(sorted(category, key=_rank))[:MAX_CATEGORIES],
            attributes=sorted(attributes, key=_rank),
            title_words=sorted(words, key=_rank)[:MAX_WORDS],
        )


def _rank(suggestion: Suggestion) -> tuple[bool, float]:
    return not suggestion.offered, -suggestion.probability


def _distinct(suggestions: Iterable[Suggestion]) -> list[Suggestion]:
    """The first suggestion of each name, because several heads may use the same name."""
    names: dict[str, Suggestion] = {}
    for one in suggestions:
        names.setdefault(one.name.casefold(), one)
    return list(names.values())
