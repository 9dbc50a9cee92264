"""A hash to listings: ask every indexer, keep each listing's nearest photo, fill in what the store knows of it."""

from __future__ import annotations

from schemas.manifest import Manifest
from schemas.predictions import RemovalMarker, StoredListing
from workers.indexer.recent import Recent
from workers.indexer.wire import HeldListing, Neighbour
from workers.search.answers import Freshness, RecentListing, Similar
from workers.search.indexers import Indexers
from workers.search.naming import Names, thumbnail_path
from workers.stores import Store

MAX_PHOTOS = 20  # of one listing: so many neighbours a listing are enough, whatever they are
_US = 1_000_000


class Finder:
    """Reads index and store together. Thread-safe; every call blocks and may raise Transient or EpochMismatch."""

    def __init__(self, store: Store, indexers: Indexers, manifest: Manifest, names: Names) -> None:
        self._store = store
        self._indexers = indexers
        self._manifest = manifest
        self._names = names

    def similar(self, hash_hex: str, k: int, language: str) -> list[Similar]:
        """The k listings nearest to a hash, by their nearest photo; a listing removed meanwhile is left out."""
        nearest = self._nearest_photos(hash_hex, k)
        stored = self._store.get([n.listing_id for n in nearest]) if nearest else {}
        found: list[Similar] = []
        for photo in nearest:
            listing = stored.get(photo.listing_id)
            if isinstance(listing, RemovalMarker):
                continue
            found.append(self._similar(photo, listing, language))
        return found[:k]

    def _nearest_photos(self, hash_hex: str, k: int) -> list[Neighbour]:
        """One photo a listing, nearest first, k listings and a few to spare for those removed meanwhile."""
        wanted = k + 5  # removals are rare and leave the index within a second
        ask = wanted * 2
        while True:
            photos = self._indexers.neighbours(hash_hex, ask, self._manifest.epoch)
            nearest: dict[str, Neighbour] = {}
            for photo in photos:
                nearest.setdefault(photo.listing_id, photo)
            if len(nearest) >= wanted or len(photos) < ask or ask >= k * MAX_PHOTOS:
                return list(nearest.values())
            ask = min(ask * 2, k * MAX_PHOTOS)

    def _similar(self, photo: Neighbour, listing: StoredListing | None, language: str) -> Similar:
        return Similar(
            listing_id=photo.listing_id,
            image_id=photo.image_id,
            distance=photo.distance,
            title=None if listing is None else listing.event.title,
            category=None if listing is None else listing.event.category,
            tags=[] if listing is None else self._names.tags(listing.summary.predictions, language),
            thumbnail=thumbnail_path(photo.listing_id, photo.image_id),
        )

    def recent(self, n: int, language: str) -> list[RecentListing]:
        """The n listings that became searchable last and are still stored, newest first."""
        entries = self._indexers.recent(n).recent
        stored = self._store.get([entry.listing_id for entry in entries]) if entries else {}
        listings = []
        for entry in entries:
            listing = stored.get(entry.listing_id)
            if isinstance(listing, StoredListing) and listing.images:
                listings.append(self._recent(entry, listing, language))
        return listings

    def _recent(self, entry: Recent, listing: StoredListing, language: str) -> RecentListing:
        return RecentListing(
            listing_id=listing.listing_id,
            title=listing.event.title,
            tags=self._names.tags(listing.summary.predictions, language),
            thumbnail=thumbnail_path(listing.listing_id, listing.images[0].image_id),
            freshness=freshness(listing, entry, searchable=True),
        )


def freshness(listing: StoredListing, known: Recent | HeldListing | None, *, searchable: bool | None) -> Freshness:
    """When a listing was uploaded, stored and indexed.

    Times of another event are not used, nor an upload after the first storing: it is that of a replay.
    """
    same = known is not None and known.event_time == listing.event_time
    uploaded = known.uploaded_at if known is not None and same else None
    if uploaded is not None and uploaded > listing.stored_at:
        uploaded = None
    indexed = known.indexed_at if known is not None and same else None
    return Freshness(
        event_time=listing.event_time,
        uploaded_at=uploaded,
        stored_at=listing.stored_at,
        indexed_at=indexed,
        searchable=searchable,
        upload_to_stored_s=_seconds(uploaded, listing.stored_at),
        upload_to_searchable_s=_seconds(uploaded, indexed),
    )


def _seconds(start: int | None, end: int | None) -> float | None:
    return None if start is None or end is None else max(0, end - start) / _US
