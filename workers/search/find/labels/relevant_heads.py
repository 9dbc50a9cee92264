"""Which heads are relevant for a photo, so that a table is not described as "Casual".

A bundle with applicability says itself which heads apply, and its word is taken. The rest of this module is the rule
for other bundles.

A head that learned from one data set answers for every photo, and is confident even if the photo shows another kind of
product. A head of words that learned from several data sets can tell their kinds of product apart. Each of its words
indicates the data sets that have a label with that word ("mug" indicates the one with a label "mug"). A word's
probability is divided equally among these data sets. A photo shows the kind of a data set if the words for it reach
SHARE of the words for the best data set, and the words for the best one add up to LEAST.

The rule does not apply to a bundle without such a head of words, nor to a data set whose labels contain no word.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from schemas.manifest import Head, Manifest
from schemas.predictions import Predictions

SHARE = 0.5  # measured, with LEAST, on validation photos: see docs/benchmarks/search.md
LEAST = 0.3
_WORDS = re.compile(r"[^\W\d_]{3,}")  # as the words of titles are taken: letters, three at least


class RelevantHeads:
    """Tells which heads of one bundle are relevant for a photo. Thread-safe."""

    def __init__(self, manifest: Manifest) -> None:
        self._kind = {head.id: head.datasets[0] for head in manifest.heads if len(head.datasets) == 1}
        vocabulary: dict[str, set[str]] = {}
        for head in manifest.heads:
            if head.id in self._kind:
                vocabulary.setdefault(self._kind[head.id], set()).update(
                    *(_words(label.value) for label in head.labels)
                )
        word_heads = [head for head in manifest.heads if head.kind == "multi_label" and len(head.datasets) > 1]
        self._speaks = {(head.id, label): kinds for head in word_heads for label, kinds in _spoken(head, vocabulary)}
        self._judged = {kind for kinds in self._speaks.values() for kind in kinds}

    def relevant(self, predictions: Predictions, applies: Collection[str] | None = None) -> frozenset[str]:
        """Ids of the relevant heads: those that apply, where the stored row says so. In a row of a bundle without
        applicability (`applies` is None), those of the kinds that the photo shows, and those of several kinds."""
        if applies is not None:
            return frozenset(head for head in predictions if head in applies)
        spoken = dict.fromkeys(self._judged, 0.0)
        for head, best in predictions.items():
            for one in best:
                for kind in self._speaks.get((head, one.label), ()):
                    spoken[kind] += one.probability / len(self._speaks[head, one.label])
        most = max(spoken.values(), default=0.0)
        silent = {kind for kind, mass in spoken.items() if most < LEAST or mass < SHARE * most}
        return frozenset(head for head in predictions if self._kind.get(head) not in silent)


def _spoken(head: Head, vocabulary: dict[str, set[str]]) -> list[tuple[str, tuple[str, ...]]]:
    """For each label of a head of words, the kinds of product that it indicates."""
    found = []
    for label in head.labels:
        kinds = tuple(kind for kind, words in vocabulary.items() if _words(label.value) & words)
        if kinds:
            found.append((label.id, kinds))
    return found


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _WORDS.findall(text)}
