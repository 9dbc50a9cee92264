"""Stored predictions with display names, and the few of them that make a listing's tags."""

from __future__ import annotations

from urllib.parse import urlencode

from schemas.manifest import Label, Manifest
from schemas.predictions import Predictions
from workers.search.answers import NamedPrediction, NamedPredictions

MAX_TAGS = 4


class Names:
    """Display names of one bundle's labels. Labels that another model stored keep their id as their name."""

    def __init__(self, manifest: Manifest) -> None:
        self._labels = {(head.id, label.id): label for head in manifest.heads for label in head.labels}

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
        """Every prediction with its name, in the stored order."""
        return {
            head: [
                NamedPrediction(
                    label=p.label,
                    name=self.name(head, p.label, language),
                    probability=p.probability,
                    offered=p.offered,
                )
                for p in best
            ]
            for head, best in predictions.items()
        }

    def tags(self, predictions: Predictions, language: str) -> list[str]:
        """Names of the surest offered predictions, one a head, at most MAX_TAGS."""
        tops = [
            (best[0].probability, head, best[0].label) for head, best in predictions.items() if best and best[0].offered
        ]
        tops.sort(key=lambda top: (-top[0], top[1]))
        return list(dict.fromkeys(self.name(head, label, language) for _, head, label in tops[:MAX_TAGS]))


def thumbnail_path(listing_id: str, image_id: str) -> str:
    """Where a photo's thumbnail is served; both ids may hold slashes, so they travel as a query."""
    return "/v1/thumbnail?" + urlencode({"listing_id": listing_id, "image_id": image_id})
