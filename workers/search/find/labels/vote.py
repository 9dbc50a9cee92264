"""The category by vote: combines the photo's own prediction with the categories of similar listings.

A neighbour at d bits has the weight exp(-(d - nearest) / SCALE_BITS); a category's *neighbour share* is its part of
all their weight. *Own* is the calibrated probability of the head whose labels are the shop's categories: the one that
knows the most of the neighbours' weight, and at least half of it; of equals the one with the fewest labels. With it,
the share of the vote is OWN_WEIGHT · own + (1 - OWN_WEIGHT) · neighbour share, scaled to add up to 1; without it, the
neighbour share alone. Equal shares stay in the order of the head, which calibration may have made equal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.manifest import Head, Manifest
from schemas.plain_text import plain
from schemas.predictions import Predictions
from workers.search.answers import CategoryShare

VOTERS = 20  # listings that vote, nearest first
_KNOWN = 0.5  # of the neighbours' weight; a head that knows less of it has another kind of category
_DIGITS = 4
_SPLIT = re.compile(r"[/>|]")
_WORDS = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class VoteRule:
    """How much the photo's own prediction counts (0 to 1), and over how many bits a neighbour's weight falls to 1/e.

    Chosen on validation photos (benchmarks/search/search_quality.py): right more often than the best head alone, by 0.3
    to 0.5 points with the committed bundle (within chance) and by 0.5 to 1.3 with the one before, on test photos.
    """

    own_weight: float = 0.8
    scale_bits: float = 4.0


@dataclass(frozen=True, slots=True)
class Ballot:
    """A similar listing, `distance` bits away. It votes only if it has a category."""

    listing_id: str
    category: str | None
    distance: int


RULE = VoteRule()


class Voting:
    """Counts votes with the heads of one bundle. Thread-safe."""

    def __init__(self, manifest: Manifest, rule: VoteRule = RULE) -> None:
        self._rule = rule
        choosing = [head for head in manifest.heads if head.kind == "softmax"]
        self._texts = {head.id: _texts(head) for head in choosing}
        self._values = {head.id: {label.id: plain(label.value) for label in head.labels} for head in choosing}

    def count(self, predictions: Predictions, ballots: Sequence[Ballot]) -> list[CategoryShare]:
        """Every category with a vote, the best first. Empty if no neighbour has a category."""
        weights = self._weights(ballots)
        total = sum(weights.values())
        if not total:
            return []
        voters: dict[str, list[str]] = {}
        shares: dict[str, float] = {}
        for ballot, weight in weights.items():
            category = str(ballot.category)
            voters.setdefault(category, []).append(ballot.listing_id)
            shares[category] = shares.get(category, 0.0) + weight / total
        own = self._own(predictions, shares)
        most = (self._rule.own_weight * sum(own.values()) + 1 - self._rule.own_weight) if own else 1.0
        mine = self._rule.own_weight if own else 0.0
        counted = [
            CategoryShare(
                category=category,
                share=round((mine * own.get(category, 0.0) + (1 - mine) * shares.get(category, 0.0)) / most, _DIGITS),
                own=own.get(category, 0.0),
                neighbours=round(shares.get(category, 0.0), _DIGITS),
                voters=voters.get(category, []),
            )
            for category in {**shares, **own}
        ]
        place = {category: i for i, category in enumerate(own)}
        return sorted(counted, key=lambda one: (-one.share, place.get(one.category, len(place)), one.category))

    def _weights(self, ballots: Sequence[Ballot]) -> dict[Ballot, float]:
        """The weights of the VOTERS nearest listings that have a category."""
        voting = sorted((b for b in ballots if b.category), key=lambda b: (b.distance, b.listing_id))[:VOTERS]
        return {b: math.exp((voting[0].distance - b.distance) / self._rule.scale_bits) for b in voting}

    def _own(self, predictions: Predictions, shares: Mapping[str, float]) -> dict[str, float]:
        """The photo's own probability of each category. A category that a neighbour has is spelled as the shop spells
        it."""
        best: tuple[float, int, str] = (0.0, 0, "")
        for head, texts in self._texts.items():
            known = sum(share for category, share in shares.items() if _label(category, texts) is not None)
            if head in predictions:
                best = max(best, (round(known, _DIGITS), -len(texts), head))
        known, _, head = best
        if known < _KNOWN:
            return {}
        texts = self._texts[head]
        written = {_label(category, texts): category for category in sorted(shares, key=lambda c: shares[c])}
        values = self._values[head]  # a label of another model's may be unknown
        return {written.get(p.label, values[p.label]): p.probability for p in predictions[head] if p.label in values}


def _texts(head: Head) -> dict[str, str]:
    """The ids of labels, by the plain text of their values and of their English names."""
    texts: dict[str, str] = {}
    for label in head.labels:
        for text in (label.value, label.display.get("en", label.value)):
            texts.setdefault(_plain(text), label.id)
    return texts


def _label(category: str, texts: Mapping[str, str]) -> str | None:
    """The label that matches the whole text of a category, else its last part (`food / fruit / apple`)."""
    return texts.get(_plain(category)) or texts.get(last_part(category))


def last_part(category: str) -> str:
    """The last part of a category (`food / fruit / apple`) as plain text, by which two spellings are compared."""
    return _plain(_SPLIT.split(category)[-1])


def _plain(text: str) -> str:
    return " ".join(_WORDS.findall(text.casefold()))
