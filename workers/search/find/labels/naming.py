"""Adds display names to stored predictions, and chooses the few of them that become a listing's tags."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlencode

from schemas.manifest import Label, Manifest
from schemas.plain_text import plain
from schemas.predictions import Predictions
from workers.search.answers import NamedPrediction, NamedPredictions
from workers.search.find.labels.usefulness import Says, Usefulness

MAX_TAGS = 4


class Names:
    """The display names of one bundle's labels. A label that another model stored is shown by its id."""

    def __init__(self, manifest: Manifest, heads: Usefulness | None = None) -> None:
        """`heads` orders the heads and hides some; by default it hides none."""
        self._labels = {(head.id, label.id): label for head in manifest.heads for label in head.labels}
        self._heads = heads or Usefulness(manifest)
        self.languages = frozenset(language for label in self._labels.values() for language in label.display)

    def name(self, head: str, label: str, language: str) -> str:
        """The name in `language`, else in its base language, else in English, else the text of the training data.

        Training data may be a stranger's, so a name has no characters that steer.
        """
        known: Label | None = self._labels.get((head, label))
        if known is None:
            return plain(label)
        for wanted in (language, language.partition("-")[0], "en"):
            if wanted in known.display:
                return plain(known.display[wanted])
        return plain(known.value)

    def named(
        self, predictions: Predictions, language: str, applies: Collection[str] | None = None
    ) -> NamedPredictions:
        """Every prediction of a head that is not hidden, with its name. The most useful head comes first
        (`Usefulness`); labels stay in their stored order.

        `applies` is that of the stored row. If it is None, `offered` stays true only for relevant heads
        (`RelevantHeads`); otherwise it is the engine's.
        """
        shown = self._heads.applying(predictions, applies)
        return {
            head: [
                NamedPrediction(
                    label=p.label,
                    name=self.name(head, p.label, language),
                    probability=p.probability,
                    offered=p.offered and head in shown,
                )
                for p in predictions[head]
            ]
            for head in self._heads.order(predictions, applies)
        }

    def tags(self, predictions: Predictions, language: str, applies: Collection[str] | None = None) -> list[str]:
        """Up to MAX_TAGS names: the best label of each head that applies, if that label is offered, the most useful
        head first. Two heads that say the same give one tag."""
        names: dict[str, str] = {}
        for best in self.named(self.relevant(predictions, applies), language, applies).values():
            if best and best[0].offered:
                names.setdefault(best[0].name.casefold(), best[0].name)
        return list(names.values())[:MAX_TAGS]

    def applies(self, applies: list[str] | None) -> list[str] | None:
        """A row's `applies` without hidden heads."""
        return self._heads.named(applies)

    def says(self, head: str) -> Says:
        """What a head says; see `Usefulness`."""
        return self._heads.says(head)

    def relevant(self, predictions: Predictions, applies: Collection[str] | None = None) -> Predictions:
        """The predictions of the heads that apply and are not hidden."""
        shown = self._heads.applying(predictions, applies)
        return {head: best for head, best in predictions.items() if head in shown}


def thumbnail_path(listing_id: str, image_id: str) -> str:
    """The path of a photo's thumbnail. The ids are in the query because both may contain slashes."""
    return "/v1/thumbnail?" + urlencode({"listing_id": listing_id, "image_id": image_id})
