"""How much of the catalogue has labels: by its photos, and by its titles alone.

GrokNet's authors report the same figure for attributes: the share of listings that get one from text, and from photos.
A title covers a head if it contains the words of one of the head's labels; a photo does if a label is offered.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from groknet.gallery.failing import UNKNOWN
from schemas.manifest import Manifest
from schemas.plain_text import plain
from schemas.predictions import RemovalMarker, StoredListing

_SHORTEST = 3  # letters of a label; "m" or "xl" stands in many titles for something else


@dataclass
class Covered:
    """Counts of listings: all, those with a good photo, and those that get a label."""

    listings: int = 0
    photos: int = 0
    with_photo: int = 0
    by_photo: int = 0
    by_title: int = 0
    by_either: int = 0

    def add(self, photos: int, by_photo: bool, by_title: bool) -> None:
        """Count one listing."""
        self.listings += 1
        self.photos += photos
        self.with_photo += photos > 0
        self.by_photo += by_photo
        self.by_title += by_title
        self.by_either += by_photo or by_title

    def share(self, count: int) -> float:
        """`count` as a share of all listings."""
        return count / self.listings if self.listings else 0.0


@dataclass
class Coverage:
    """The coverage of a catalogue as a whole, by category and by head."""

    whole: Covered = field(default_factory=Covered)
    categories: dict[str, Covered] = field(default_factory=lambda: defaultdict(Covered))
    heads: dict[str, Covered] = field(default_factory=lambda: defaultdict(Covered))


def tokens(text: str) -> list[str]:
    """The words of a text in lower case (NFKC)."""
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold())


class TitleLabels:
    """Finds the labels of a bundle in titles, as whole words."""

    def __init__(self, manifest: Manifest) -> None:
        self._phrases: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
        for head in manifest.heads:
            for label in head.labels:
                for name in {label.id, label.value, *label.display.values()}:
                    words = tuple(tokens(name.replace("_", " ")))
                    if sum(map(len, words)) >= _SHORTEST:
                        self._phrases[words[0]].append((words, head.id))

    def heads(self, title: str) -> set[str]:
        """The ids of the heads that have a label in the title."""
        words = tokens(title)
        return {
            head
            for place, word in enumerate(words)
            for phrase, head in self._phrases.get(word, ())
            if tuple(words[place : place + len(phrase)]) == phrase
        }


def coverage(listings: Iterable[StoredListing | RemovalMarker], manifest: Manifest) -> Coverage:
    """Count the listings of a store. It reads them once and holds only the counts."""
    found, titles = Coverage(), TitleLabels(manifest)
    heads = [head.id for head in manifest.heads]
    for one in listings:
        if isinstance(one, RemovalMarker):
            continue
        named = titles.heads(one.event.title or "")
        offered = _offered(one)
        photos = len(one.images)
        for covered in (found.whole, found.categories[plain(one.event.category or "") or UNKNOWN]):
            covered.add(photos, bool(offered), bool(named))
        for head in heads:
            found.heads[head].add(photos, head in offered, head in named)
    return found


def _offered(listing: StoredListing) -> set[str]:
    return {head for head, labels in listing.summary.predictions.items() if any(one.offered for one in labels)}


def listings_by_category(found: Coverage) -> Counter[str]:
    """The number of listings with a photo of each category."""
    return Counter({name: covered.with_photo for name, covered in found.categories.items()})
