"""A typed query, and how well a listing answers it.

Each phrase of the query is a term. The photos answer a term with the calibrated probability of its labels: within a
head whose labels exclude each other their sum, else the greatest, and of several heads the greatest. The title answers
it if it has the term's words. It counts as independent evidence of weight `title`: p = 1 - (1 - photo)(1 - title).
The relevance of a listing is the weighted geometric mean of its terms' p, each at least `floor`, so a listing that
answers all terms comes before one that answers a single term. A term with labels has weight 1. Other words can stand in
titles only; the more titles have them, the less they weigh (inverse document frequency). Function words that are no
label are left out, and are no phrase of the query.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from engines.words import Meaning, Phrase, Phrases
from engines.words.phrases import word_key
from schemas.manifest import Manifest
from schemas.predictions import Predictions
from schemas.query_text import normal_form, signs

_FUNCTION_WORDS = """
a an and are as at by for from in is it like my of on or some that the their these this those to with without
der die das ein eine einen und mit von fur aus im
le la les un une de des du et avec pour en
el los las una y con para del il lo gli di e per da
и в на с для из
"""
_SILENT = frozenset(_FUNCTION_WORDS.split())
"""In their normal form. A label of this name still counts."""
DIGITS = 4  # of a relevance, as of a stored probability
LEAST = 0.02  # probability; below it a label says as little as the floor of a term
MOST_TERMS = 16  # of one query; each costs a pass over the label index
MOST_TITLE_WORDS = 64  # of one title; an event's title may be longer


@dataclass(frozen=True, slots=True)
class TypedRule:
    """`title`: how much a title counts that has the words of a term, 0 to 1. `floor`: the least p of a term.

    The floor was chosen on validation photos by benchmarks/search/typed_queries.py. So was the weight of titles: more
    was better up to 0.9. It is a little less, because titles of strangers also name what is not for sale."""

    title: float = 0.8
    floor: float = 0.01


RULE = TypedRule()


@dataclass(frozen=True, slots=True)
class Choice:
    """Labels of one head, any of which answers a term. `exclusive`: the labels of the head exclude each other."""

    head: str
    labels: tuple[str, ...]
    exclusive: bool


@dataclass(frozen=True, slots=True)
class Term:
    """One phrase of a query: the labels that it means, by head, and the keys of its words."""

    choices: tuple[Choice, ...]
    words: tuple[str, ...]


Weighed = Sequence[tuple[Term, float]]
"""Terms with their weights."""


@dataclass(frozen=True, slots=True)
class TypedQuery:
    """What was typed: what it means, phrase by phrase, and a term for each phrase that may be found."""

    meaning: Meaning
    terms: tuple[Term, ...]


class Reader:
    """Makes typed queries for one bundle. Immutable, and safe to call from several threads."""

    def __init__(self, manifest: Manifest, phrases: Phrases) -> None:
        self._exclusive = {head.id: head.kind == "softmax" for head in manifest.heads}
        self._phrases = phrases

    def read(self, text: str) -> TypedQuery:
        """The query that a text is. A phrase that stands twice counts once. What follows the first MOST_TERMS terms is
        not understood."""
        read = self._phrases.read(text).phrases
        meaning = Meaning(tuple(one for one in read if one.labels or one.text not in _SILENT))
        terms: dict[Term, None] = {}
        for phrase in meaning.phrases:
            by_head: dict[str, list[str]] = defaultdict(list)
            for ref in phrase.labels:
                by_head[ref.head].append(ref.label)
            choices = tuple(
                Choice(head, tuple(labels), self._exclusive.get(head, False)) for head, labels in by_head.items()
            )
            terms[Term(choices, title_words(phrase.corrected or phrase.text))] = None
            if len(terms) > MOST_TERMS:
                at = meaning.phrases.index(phrase)
                cut = tuple(Phrase(one.text) for one in meaning.phrases[at:])
                return TypedQuery(Meaning(meaning.phrases[:at] + cut), tuple(terms)[:MOST_TERMS])
        return TypedQuery(meaning, tuple(terms))


def title_words(text: str) -> tuple[str, ...]:
    """The keys of the words of a title, or of a term, each once: at most MOST_TITLE_WORDS."""
    return tuple(dict.fromkeys(word_key(word) for word in signs(normal_form(text))))[:MOST_TITLE_WORDS]


def relevance(weighed: Weighed, predictions: Predictions, words: Collection[str] = (), rule: TypedRule = RULE) -> float:
    """How well a listing, or one of its photos, answers the terms: 0 to 1, and 0 if there is no term.

    Args:
        weighed: terms of the query, and their weights above 0.
        predictions: of the heads that may be read.
        words: the keys of the title's words; none if titles do not count.
        rule: the weight of titles, and the floor.
    """
    total = 0.0
    for term, weight in weighed:
        photo = max((_chosen(choice, predictions) for choice in term.choices), default=0.0)
        titled = bool(term.words) and all(word in words for word in term.words)
        total += weight * math.log(max(1 - (1 - photo) * (1 - rule.title * titled), rule.floor))
    weights = sum(weight for _, weight in weighed)
    return round(math.exp(total / weights), DIGITS) if weights else 0.0


def _chosen(choice: Choice, predictions: Predictions) -> float:
    known = [
        one.probability
        for one in predictions.get(choice.head, ())
        if one.label in choice.labels and one.probability >= LEAST
    ]
    return min(1.0, sum(known)) if choice.exclusive else max(known, default=0.0)
