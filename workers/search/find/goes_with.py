"""Finds the listings that go with a listing: by counts of occasions, or by those of listings that are like it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from schemas.plain_text import plain_or_none
from schemas.predictions import RemovalMarker, StoredListing
from workers.search.find.filters import Filters
from workers.search.find.finder import Finder, Wanted
from workers.search.find.labels.naming import Names, thumbnail_path
from workers.search.settings import SearchSettings
from workers.search.suggestion_answers import Companion, Companionship
from workers.stores import Store
from workers.together.counts import Counts
from workers.together.scoring import shrunk_cosine
from workers.watching import suggestion_metrics as metrics

_NEIGHBOURS = 100  # listings like the one asked about, or of its category, whose occasions are looked at
_ENOUGH = 50  # occasions of the nearest of them; those that are farther away say less
_SPARE = 20  # candidates that are read from the store beyond those wanted, because some may be removed


@dataclass(frozen=True, slots=True)
class Candidate:
    """A listing that may go with another: how that is known, on how many occasions, and how strongly."""

    listing_id: str
    source: Companionship
    together: int
    score: float


class GoesWith:
    """Finds companions of listings. Thread-safe. Calls block, and may raise Transient or EpochMismatch."""

    def __init__(self, counts: Counts, finder: Finder, *, store: Store, names: Names, settings: SearchSettings) -> None:
        self._counts, self._finder, self._store = counts, finder, store
        self._names, self._settings = names, settings

    def companions(self, listing: StoredListing, hashes: Sequence[str], k: int, language: str) -> list[Companion]:
        """At most k listings that go with a stored listing, whose hashes are given (64 hex digits each; none if it has
        no photo of this epoch).

        The listing's own counts come first. Where they name too few, those of the nearest listings follow, and then
        those of listings of its category. The store has the last word: a listing that was removed is forgotten. A
        listing of the same product is no companion.
        """
        chosen: dict[str, Companion] = {}
        seen = {listing.listing_id}
        for candidates in self._ways(listing, hashes, seen):
            fresh = [one for one in candidates if one.listing_id not in seen]
            while fresh and len(chosen) < k:
                batch, fresh = fresh[: k - len(chosen) + _SPARE], fresh[k - len(chosen) + _SPARE :]
                seen.update(one.listing_id for one in batch)
                for one, stored in self._stored(batch):
                    if len(chosen) < k and stored.images and not self._same_product(stored, hashes):
                        chosen[one.listing_id] = self._shown(one, stored, language)
            if len(chosen) >= k:
                break
        for companion in chosen.values():
            metrics.GOES_WITH.labels(companion.source).inc()
        if not chosen:
            metrics.GOES_WITH.labels("none").inc()
        return list(chosen.values())

    def _ways(self, listing: StoredListing, hashes: Sequence[str], seen: set[str]) -> Iterator[list[Candidate]]:
        """The candidates of each way to know, the surest way first. A later way is asked only if it is needed."""
        own = listing.listing_id
        yield self._candidates([own], own, "counts")
        if not hashes or not len(self._counts):
            return
        found = self._finder.find(hashes, Wanted(_NEIGHBOURS, own, radius=self._settings.close_bits))
        seen.update(one.photo.listing_id for one in found if one.photo.distance <= self._settings.duplicate_radius)
        near = [one.photo.listing_id for one in found]
        yield self._candidates(near, own, "neighbours")
        category = listing.event.category
        if category:
            only = Filters(frozenset([category]))
            alike = self._finder.find(hashes, Wanted(_NEIGHBOURS, own, only))
            yield self._candidates([one.photo.listing_id for one in alike], own, "categories")

    def _candidates(self, like: Sequence[str], own: str, source: Companionship) -> list[Candidate]:
        """What went with the first of these listings that have enough occasions, the best first."""
        asked, occasions = [], 0
        for listing_id in like:
            count = self._counts.occasions(listing_id)
            if count:
                asked.append(listing_id)
                occasions += count
            if occasions >= _ENOUGH:
                break
        found = [
            Candidate(pair.listing_id, source, pair.together, shrunk_cosine(pair.together, occasions, pair.occasions))
            for pair in self._counts.pairs(asked, without=[own])
            if pair.together >= self._settings.together_support
        ]
        return sorted(found, key=lambda one: (-one.score, one.listing_id))

    def _stored(self, batch: Sequence[Candidate]) -> Iterator[tuple[Candidate, StoredListing]]:
        """The candidates that are stored. The counts forget those that were removed."""
        stored = self._store.get([one.listing_id for one in batch])
        for one in batch:
            found = stored.get(one.listing_id)
            if isinstance(found, RemovalMarker):
                self._counts.forget(one.listing_id, found.event_time)
            elif found is not None:
                yield one, found

    def _same_product(self, other: StoredListing, hashes: Sequence[str]) -> bool:
        mine = [int(one, 16) for one in hashes]
        radius = self._settings.duplicate_radius
        return any((int(row.hash, 16) ^ one).bit_count() <= radius for row in other.images for one in mine)

    def _shown(self, one: Candidate, stored: StoredListing, language: str) -> Companion:
        return Companion(
            listing_id=one.listing_id,
            title=plain_or_none(stored.event.title),
            category=plain_or_none(stored.event.category),
            price=stored.event.price,
            tags=self._names.tags(stored.summary.predictions, language, stored.summary.applies),
            thumbnail=thumbnail_path(one.listing_id, stored.images[0].image_id),
            source=one.source,
            together=one.together,
            score=round(one.score, 4),
        )
