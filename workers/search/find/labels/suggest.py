"""What a seller is offered while listing: category, attributes and words for the title, out of one photo."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from schemas.predictions import Predictions
from workers.search.answers import Suggestion
from workers.search.find.labels.naming import Names
from workers.search.find.labels.usefulness import Says

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
    """Sorts predictions by what their heads say: words, what the thing is, or how it looks (`Says`)."""

    def __init__(self, names: Names) -> None:
        self._names = names

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
            says = self._names.says(head)
            if says is Says.WORDS:
                words += made
            elif says is Says.HOW:
                attributes += made[:1]
            else:
                category += made
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
