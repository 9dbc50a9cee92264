"""Stored predictions with display names, and the few of them that make a listing's tags."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlencode

from schemas.manifest import Label, Manifest
from schemas.predictions import Prediction, Predictions
from workers.search.answers import NamedPrediction, NamedPredictions
from workers.search.find.relevant_heads import Kinds

MAX_TAGS = 4


class Names:
    """Display names of one bundle's labels. Labels that another model stored keep their id as their name."""

    def __init__(self, manifest: Manifest) -> None:
        self._labels = {(head.id, label.id): label for head in manifest.heads for label in head.labels}
        self._kinds = Kinds(manifest)

    def name(self, head: str, label: str, language: str) -> str:
        """In `language`, else its base language, else English, else the text of the training data."""
        known: Label | None = self._labels.get((head, label))
        if known is None:
            return label
        for wanted in (language, language.partition("-")[0], "en"):
            if wanted in known.display:
                return known.display[wanted]
        return known.value

    def named(self, predictions: Predictions, language: str) -> NamedPredictions:
        """Every prediction with its name; the order of heads is that of `_ranked`, labels keep theirs.

        `offered` is left of it only for heads that the photo is for (`Kinds`).
        """
        shown = self._kinds.shown(predictions)
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

    def tags(self, predictions: Predictions, language: str) -> list[str]:
        """Names of the best label of each head that the photo is for, where it is offered, at most MAX_TAGS, in the
        order of `_ranked`."""
        ranked = self._ranked(self.relevant(predictions), self._kinds.shown(predictions))
        offered = [(head, best[0].label) for head, best in ranked if best and best[0].offered]
        names = dict.fromkeys(self.name(head, label, language) for head, label in offered)
        return list(names)[:MAX_TAGS]

    def relevant(self, predictions: Predictions) -> Predictions:
        """Those of the heads that the photo is for (`Kinds`)."""
        shown = self._kinds.shown(predictions)
        return {head: best for head, best in predictions.items() if head in shown}

    def _ranked(self, predictions: Predictions, shown: Collection[str]) -> list[tuple[str, list[Prediction]]]:
        """Heads that the photo is for first, of them those that learned from all kinds of products; within each, those
        with an offered label, the surest first."""

        def rank(item: tuple[str, list[Prediction]]) -> tuple[bool, bool, bool, float, str]:
            head, best = item
            top = best[0] if best else Prediction(label="", probability=0.0)
            return head not in shown, self._kinds.of_one(head), not top.offered, -top.probability, head

        return sorted(predictions.items(), key=rank)


def thumbnail_path(listing_id: str, image_id: str) -> str:
    """Where a photo's thumbnail is served; both ids may hold slashes, so they travel as a query."""
    return "/v1/thumbnail?" + urlencode({"listing_id": listing_id, "image_id": image_id})
