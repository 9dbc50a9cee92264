"""Which kinds of product a photo shows, so that a table is not offered "Casual".

A head that learned from one data set answers on photos of any kind, and is sure of itself on those too. A head of
words that learned from several data sets knows better: its words are those of all of them. So each word speaks for the
data sets whose labels it stands in ("mug" for the one with a label "mug"), in equal parts, with its probability; a
data set is shown where at least SHARE of the best one's words speak for it, and the best one's add up to LEAST.

A bundle without such a head of words, and a data set whose labels hold none of the words, are left as they are.
"""

from __future__ import annotations

import re

from schemas.manifest import Head, Manifest
from schemas.predictions import Predictions

SHARE = 0.5  # measured, with LEAST, on validation photos: see docs/benchmarks/search.md
LEAST = 0.3
_WORDS = re.compile(r"[^\W\d_]{3,}")  # as the words of titles are taken: letters, three at least


class Kinds:
    """The rule over one bundle's heads. Thread-safe."""

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

    def shown(self, predictions: Predictions) -> frozenset[str]:
        """Ids of the heads to listen to: those of the kinds shown, and those that are of no one kind."""
        spoken = dict.fromkeys(self._judged, 0.0)
        for head, best in predictions.items():
            for one in best:
                for kind in self._speaks.get((head, one.label), ()):
                    spoken[kind] += one.probability / len(self._speaks[head, one.label])
        most = max(spoken.values(), default=0.0)
        silent = {kind for kind, mass in spoken.items() if most < LEAST or mass < SHARE * most}
        return frozenset(head for head in predictions if self._kind.get(head) not in silent)

    def of_one(self, head: str) -> bool:
        """Whether a head learned from one kind of product alone."""
        return head in self._kind


def _spoken(head: Head, vocabulary: dict[str, set[str]]) -> list[tuple[str, tuple[str, ...]]]:
    """Label of a head of words → the kinds that it speaks for."""
    found = []
    for label in head.labels:
        kinds = tuple(kind for kind, words in vocabulary.items() if _words(label.value) & words)
        if kinds:
            found.append((label.id, kinds))
    return found


def _words(text: str) -> set[str]:
    return {word.casefold() for word in _WORDS.findall(text)}
