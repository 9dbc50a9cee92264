"""How much of the catalogue has labels: by its photos, and by its titles alone.

GrokNet's authors report the same figure for attributes: the share of listings that get one from text, and from photos.
A title covers a head if it names one of the head's labels, as typed queries are understood (`engines/words`); a photo
does if a label is offered.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from engines.words import Phrases
from groknet.gallery.failing import UNKNOWN
from schemas.manifest import Manifest
from schemas.plain_text import plain
from schemas.predictions import RemovalMarker, StoredListing

_SHORTEST = 3  # letters


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


def heads_of(title: str, phrases: Phrases) -> set[str]:
    """The ids of the heads that have a label in the title, as whole words. Labels of one or two letters do not count,
    because "m" or "xl" stands in many titles for something else."""
    return {
        ref.head
        for one in phrases.read(title, exact=True).understood
        if len(one.text) >= _SHORTEST or not one.text.isascii()
        for ref in one.labels
    }


def coverage(listings: Iterable[StoredListing | RemovalMarker], manifest: Manifest) -> Coverage:
    """Count the listings of a store. It reads them once and holds only the counts."""
    found, phrases = Coverage(), Phrases(manifest)
    heads = [head.id for head in manifest.heads]
    for one in listings:
        if isinstance(one, RemovalMarker):
            continue
        named = heads_of(one.event.title or "", phrases)
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
