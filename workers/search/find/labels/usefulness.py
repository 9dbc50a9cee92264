"""The order in which a person wants to read what a photo shows, and which heads may be read at all.

Heads that apply come before the others. Among them the *lead* comes first: the finest head that offers a name of the
thing, or a head for photos of every kind where no finer one applies. Then come heads with an offered label before those
without, and in each group: what the thing is (finest first), the head for every kind, attributes, words.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum

from schemas.manifest import Head, Manifest
from schemas.predictions import Prediction, Predictions
from workers.search.find.labels.relevant_heads import RelevantHeads
from workers.search.settings import CATEGORY_COLUMNS

_NOTHING = Prediction(label="", probability=0.0)


class Says(IntEnum):
    """What a head says about a photo, the most useful first."""

    WHAT = 0
    """What the thing is, among things of one kind."""
    WHAT_OF_ALL = 1
    """What the thing is, among things of every kind."""
    HOW = 2
    """How the thing looks: an attribute."""
    WORDS = 3
    """Several labels at once, such as words of titles."""


class Usefulness:
    """Orders the heads of one bundle. Thread-safe.

    `category_columns` are the columns of the training data that say what a thing is. Heads in `hidden` are nowhere.
    """

    def __init__(
        self, manifest: Manifest, category_columns: Collection[str] = CATEGORY_COLUMNS, hidden: Collection[str] = ()
    ) -> None:
        self._rule = RelevantHeads(manifest)
        self._hidden = frozenset(hidden)
        self._says = {head.id: _says(manifest, head, category_columns) for head in manifest.heads}
        self._labels = {head.id: len(head.labels) for head in manifest.heads}

    def says(self, head: str) -> Says:
        """What a head says. One that the bundle does not have, because another model stored it, is an attribute."""
        return self._says.get(head, Says.HOW)

    def applying(self, predictions: Predictions, applies: Collection[str] | None) -> frozenset[str]:
        """The ids of the heads that apply and are not hidden. `applies` is that of the row; see `RelevantHeads`."""
        return self._rule.relevant(predictions, applies) - self._hidden

    def named(self, applies: list[str] | None) -> list[str] | None:
        """A row's `applies` without hidden heads."""
        return None if applies is None else [head for head in applies if head not in self._hidden]

    def order(self, predictions: Predictions, applies: Collection[str] | None) -> list[str]:
        """The ids of all heads that are not hidden, the most useful first."""
        shown = self.applying(predictions, applies)
        top = {head: best[0] if best else _NOTHING for head, best in predictions.items() if head not in self._hidden}
        lead = self._lead(top, shown)

        def rank(head: str) -> tuple[bool, bool, bool, Says, int, float, str]:
            says, best = self.says(head), top[head]
            size = -self._labels.get(head, 0) if says is Says.WHAT else 0
            return head not in shown, head != lead, not best.offered, says, size, -best.probability, head

        return sorted(top, key=rank)

    def _lead(self, top: dict[str, Prediction], shown: Collection[str]) -> str:
        """The head that says best what the thing is; empty if there is none."""
        fine = [head for head in shown if self.says(head) is Says.WHAT]
        offered = [head for head in fine if top[head].offered]
        if offered:
            return max(offered, key=lambda head: (self._labels[head], head))
        general = [head for head in shown if self.says(head) is Says.WHAT_OF_ALL]
        return "" if fine or not general else max(general, key=lambda head: (top[head].probability, head))


def _says(manifest: Manifest, head: Head, category_columns: Collection[str]) -> Says:
    if head.kind == "multi_label":
        return Says.WORDS
    if not head.datasets or (manifest.applicability is not None and not head.domain):
        return Says.WHAT_OF_ALL
    return Says.WHAT if head.column in category_columns else Says.HOW
