"""Known words that differ from a typed word by few edits.

An edit inserts, deletes or replaces a letter, or swaps two neighbours: the optimal string alignment distance (Damerau
1964, without editing a part twice). Candidates come from deletions: two words within n edits have a form in common that
arises by at most n deletions from each (the idea of SymSpell). So a look-up costs the same for any number of words.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

_ONE_EDIT = 5  # letters from which a word may have one edit: shorter words are mostly another word ("boat", "coat")
_TWO_EDITS = 9
_LONGEST = 24  # letters; a word of 24 has 300 forms


def allowed_edits(word: str) -> int:
    """How many edits a word of this length may have: 0, 1 or 2."""
    if not _ONE_EDIT <= len(word) <= _LONGEST:
        return 0
    return 1 if len(word) < _TWO_EDITS else 2


def edits(a: str, b: str) -> int:
    """The fewest edits that turn `a` into `b`; see the module."""
    before, row = [0] * (len(b) + 1), list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        older, before, row = before, row, [i] + [0] * len(b)
        for j, right in enumerate(b, 1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (left != right))
            if i > 1 and j > 1 and left == b[j - 2] and a[i - 2] == right:
                row[j] = min(row[j], older[j - 2] + 1)
    return row[-1]


class Spelling:
    """Finds the nearest of some words. Immutable, and safe to call from several threads."""

    def __init__(self, words: Iterable[str]) -> None:
        self._forms: dict[str, list[str]] = {}
        for word in sorted(set(words)):
            for form in _forms(word, allowed_edits(word) or 1):
                self._forms.setdefault(form, []).append(word)

    def nearest(self, word: str) -> str | None:
        """The known word with the fewest edits, at most `allowed_edits` of them; of several the first in the order of
        the alphabet. The first letter must be right, because people seldom mistype it. None if there is none."""
        most = allowed_edits(word)
        if not most:
            return None
        near = {known for form in _forms(word, most) for known in self._forms.get(form, ())}
        counted = [(edits(word, known), known) for known in near if known[0] == word[0] and len(known) > 2]
        best = min(counted, default=(most + 1, ""))
        return best[1] if best[0] <= most else None


def _forms(word: str, most: int) -> set[str]:
    """The word, and what remains of it after at most `most` deletions."""
    if len(word) > _LONGEST:
        return {word}
    places = range(len(word))
    return {
        "".join(letter for place, letter in enumerate(word) if place not in gone)
        for count in range(most + 1)
        for gone in combinations(places, count)
    }
