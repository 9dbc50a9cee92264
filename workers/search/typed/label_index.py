"""From labels and words of titles to the listings that have them, in memory.

Each label has a posting: the listings and their probabilities, as two arrays. A search adds up the postings of its
terms, so its cost grows with the listings that have a label, and it misses none. A listing that changes gets a new
number; its old number is dead, and dead numbers are cleared when there are as many of them as of live ones.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from schemas.predictions import Predictions
from workers.search.typed.query import DIGITS, LEAST, RULE, Choice, Term, TypedRule, Weighed

MOST_WORDS = 2_000_000
"""Different words of titles by default. Strangers write them."""
_FIRST = 8  # places of a new posting
_CLEAR_FROM = 1_000  # dead numbers; fewer are not worth it

_LabelKey = tuple[str, str]


class _Posting:
    """Listings by number, ascending, and a value for each."""

    __slots__ = ("_numbers", "_values", "count")

    def __init__(self) -> None:
        self._numbers = np.empty(_FIRST, np.uint32)
        self._values = np.empty(_FIRST, np.float32)
        self.count = 0

    def add(self, number: int, value: float) -> None:
        if self.count == len(self._numbers):
            self._numbers = np.concatenate([self._numbers, np.empty_like(self._numbers)])
            self._values = np.concatenate([self._values, np.empty_like(self._values)])
        self._numbers[self.count], self._values[self.count] = number, value
        self.count += 1

    @property
    def numbers(self) -> NDArray[np.uint32]:
        return self._numbers[: self.count]

    @property
    def values(self) -> NDArray[np.float32]:
        return self._values[: self.count]

    def renumbered(self, new: NDArray[np.int64]) -> None:
        """Keep the live numbers, under their new ones; -1 is dead."""
        numbers = new[self.numbers]
        live = numbers >= 0
        self._values = self.values[live]
        self._numbers = numbers[live].astype(np.uint32)
        self.count = len(self._numbers)
        if not self.count:
            self._numbers, self._values = np.empty(_FIRST, np.uint32), np.empty(_FIRST, np.float32)


class LabelIndex:
    """The index. Thread-safe. It takes at most `most` listings; a further one is left out and counted. Of the titles it
    knows at most `most_words` different words; further ones find nothing."""

    def __init__(self, most: int, most_words: int = MOST_WORDS) -> None:
        self._most, self._most_words = most, most_words
        self._labels: dict[_LabelKey, _Posting] = {}
        self._words: dict[str, _Posting] = {}
        self._ids: list[str | None] = []
        self._numbers: dict[str, int] = {}
        self._alive = np.zeros(_FIRST, np.bool_)  # by number, with room for more
        self._left_out: set[str] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def left_out(self) -> int:
        """Listings for which there was no room."""
        return len(self._left_out)

    def with_room(self, count: int) -> list[str]:
        """At most `count` listings that were left out and for which there is room now, in no particular order."""
        with self._lock:
            return list(islice(self._left_out, max(0, min(count, self._most - len(self._numbers)))))

    def put(self, listing_id: str, predictions: Predictions, words: Sequence[str]) -> None:
        """Add a listing, or replace it. `predictions` are those of the heads that may be read, `words` the keys of its
        title's words."""
        with self._lock:
            self._forget(listing_id)
            if len(self._numbers) >= self._most:
                self._left_out.add(listing_id)
                return
            number = len(self._ids)
            self._ids.append(listing_id)
            if number == len(self._alive):
                self._alive = np.concatenate([self._alive, np.zeros_like(self._alive)])
            self._alive[number] = True
            self._numbers[listing_id] = number
            for head, best in predictions.items():
                for one in best:
                    if one.probability >= LEAST:
                        self._labels.setdefault((head, one.label), _Posting()).add(number, one.probability)
            for word in words:
                if word in self._words or len(self._words) < self._most_words:
                    self._words.setdefault(word, _Posting()).add(number, 1.0)
            self._clear_if_due()

    def remove(self, listing_id: str) -> None:
        """Remove a listing. Does nothing if it is not there."""
        with self._lock:
            self._forget(listing_id)
            self._clear_if_due()

    def weigh(self, terms: Sequence[Term], *, titles: bool = True) -> list[tuple[Term, float]]:
        """The terms that listings can answer, with their weights. A term without labels has the inverse document
        frequency of its words as a share of the greatest, log(1 + n / titles) / log(1 + n); it is left out if no title
        has it, or titles do not count."""
        weighed: list[tuple[Term, float]] = []
        with self._lock:
            size, live = len(self._ids), len(self._numbers)
            for term in terms:
                if term.choices:
                    weighed.append((term, 1.0))
                elif titles and live and (having := int((self._titled(term, size) & self._alive[:size]).sum())):
                    weighed.append((term, math.log1p(live / having) / math.log1p(live)))
        return weighed

    def search(
        self, weighed: Weighed, count: int, *, titles: bool = True, rule: TypedRule = RULE
    ) -> list[tuple[str, float]]:
        """The `count` most relevant listings with their relevance (0 to 1; `workers.search.typed.query`), the most
        relevant first, ties by id. Listings that answer no term are left out."""
        with self._lock:
            size = len(self._ids)
            logs, answering = np.zeros(size, np.float64), np.zeros(size, np.bool_)
            for term, weight in weighed:
                p = self._answer(term, size, titles, rule)
                answering |= p > rule.floor
                logs += weight * np.log(np.maximum(p, rule.floor))
            found = np.flatnonzero(answering & self._alive[:size])
            score = np.round(np.exp(logs[found] / (sum(weight for _, weight in weighed) or 1.0)), DIGITS)
            if len(found) > count:
                least = np.partition(score, len(score) - count)[len(score) - count]
                found, score = found[score >= least], score[score >= least]
            named = [(str(self._ids[number]), float(one)) for number, one in zip(found, score, strict=True)]
        return sorted(named, key=lambda one: (-one[1], one[0]))[:count]

    def _answer(self, term: Term, size: int, titles: bool, rule: TypedRule) -> NDArray[np.float64]:
        """float64 [size], the p of a term for each listing."""
        photo = np.zeros(size, np.float64)
        for choice in term.choices:
            np.maximum(photo, self._chosen(choice, size), out=photo)
        if titles:
            photo = 1 - (1 - photo) * (1 - rule.title * self._titled(term, size))
        return photo

    def _titled(self, term: Term, size: int) -> NDArray[np.bool_]:
        """bool [size], whether a listing's title has all words of a term."""
        having = np.full(size, bool(term.words))
        for word in term.words:
            mine = np.zeros(size, np.bool_)
            if (posting := self._words.get(word)) is not None:
                mine[posting.numbers] = True
            having &= mine
        return having

    def _chosen(self, choice: Choice, size: int) -> NDArray[np.float64]:
        total = np.zeros(size, np.float64)
        for label in choice.labels:
            posting = self._labels.get((choice.head, label))
            if posting is None:
                continue
            if choice.exclusive:
                total[posting.numbers] += posting.values
            else:
                total[posting.numbers] = np.maximum(total[posting.numbers], posting.values)
        return np.minimum(total, 1.0)

    def _forget(self, listing_id: str) -> None:
        self._left_out.discard(listing_id)
        number = self._numbers.pop(listing_id, None)
        if number is not None:
            self._ids[number] = None
            self._alive[number] = False

    def _clear_if_due(self) -> None:
        """Give the live listings new numbers without gaps, in their order, when half of the numbers are dead."""
        dead = len(self._ids) - len(self._numbers)
        if dead < _CLEAR_FROM or dead < len(self._numbers):
            return
        alive = self._alive[: len(self._ids)]
        new = np.where(alive, np.cumsum(alive) - 1, -1)
        for posting in (*self._labels.values(), *self._words.values()):
            posting.renumbered(new)
        self._labels = {key: posting for key, posting in self._labels.items() if posting.count}
        self._words = {key: posting for key, posting in self._words.items() if posting.count}
        self._ids = [one for one in self._ids if one is not None]
        self._numbers = {str(one): number for number, one in enumerate(self._ids)}
        self._alive = np.ones(max(_FIRST, len(self._ids)), np.bool_)
