"""Adds display names to stored predictions, and chooses the few of them that become a listing's tags."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlencode

from schemas.manifest import Label, Manifest
from schemas.predictions import Prediction, Predictions
from workers.search.answers import NamedPrediction, NamedPredictions
from workers.search.find.relevant_heads import RelevantHeads

MAX_TAGS = 4


class Names:
    """The display names of one bundle's labels. A label that another model stored is shown by its id."""

    def __init__(self, manifest: Manifest) -> None:
        self._labels = {(head.id, label.id): label for head in manifest.heads for label in head.labels}
        self._heads = RelevantHeads(manifest)

    def name(self, head: str, label: str, language: str) -> str:
        """The name in `language`, else in its base language, else in English, else the text of the training data."""
        known: Label | None = self._labels.get((head, label))
        if known is None:
            return label
        for wanted in (language, language.partition("-")[0], "en"):
            if wanted in known.display:
                return known.display[wanted]
        return known.value

    def named(
        self, predictions: Predictions, language: str, applies: Collection[str] | None = None
    ) -> NamedPredictions:
        """Every prediction with its name. Heads are in the order of `_ranked`, labels in their stored order.

        `applies` is that of the stored row. If it is None, `offered` stays true only for relevant heads
        (`RelevantHeads`); otherwise it is the engine's.
        """
        shown = self._heads.relevant(predictions, applies)
        return {
            head: [
                NamedPrediction(
                    label=p.label,
                    name=self.name(head, p.label, language),
                    probability=p.probability,
                    offered=p.offered and head in shown,
                )
                for p in best
            ]
            for head, best in self._ranked(predictions, shown)
        }

    def tags(self, predictions: Predictions, language: str, applies: Collection[str] | None = None) -> list[str]:
        """Up to MAX_TAGS names: the best label of each relevant head, if that label is offered, in the order of
        `_ranked`."""
        shown = self._heads.relevant(predictions, applies)
        ranked = self._ranked(self.relevant(predictions, applies), shown)
        offered = [(head, best[0].label) for head, best in ranked if best and best[0].offered]
        names = dict.fromkeys(self.name(head, label, language) for head, label in offered)
        return list(names)[:MAX_TAGS]

    def relevant(self, predictions: Predictions, applies: Collection[str] | None = None) -> Predictions:
        """The predictions of the relevant heads (`RelevantHeads`)."""
        shown = self._heads.relevant(predictions, applies)
        return {head: best for head, best in predictions.items() if head in shown}

    def _ranked(self, predictions: Predictions, shown: Collection[str]) -> list[tuple[str, list[Prediction]]]:
        """Relevant heads come first, and among them those that learned from several kinds of product. Within each
        group, heads with an offered label come first, then higher probabilities."""

        def rank(item: tuple[str, list[Prediction]]) -> tuple[bool, bool, bool, float, str]:
            head, best = item
            top = best[0] if best else Prediction(label="", probability=0.0)
            return head not in shown, self._heads.of_one_kind(head), not top.offered, -top.probability, head

        return sorted(predictions.items(), key=rank)


def thumbnail_path(listing_id: str, image_id: str) -> str:
    """The path of a photo's thumbnail. The ids are in the query because both may contain slashes."""
    return "/v1/thumbnail?" + urlencode({"listing_id": listing_id, "image_id": image_id})
