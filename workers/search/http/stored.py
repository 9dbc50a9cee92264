"""Reads stored listings for the routes, and answers with a problem when there is none to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engines.pixels import thumbnail
from schemas.errors import Invalid, Transient
from schemas.manifest import Manifest
from schemas.predictions import ImageRow, RemovalMarker, StoredListing, by_photo
from workers.http.problems import Problem
from workers.intake import Intake
from workers.search.http.slots import Slots
from workers.search.http.threads import Threads
from workers.stores import Store

PHOTO_SIDE = 1280  # pixels: 640 points wide on a screen that has two for each
MAX_HASHES = 64
"""The most hashes that a stored listing is searched with: as many as an indexer takes (`indexer.max_query_hashes`)."""
_PHOTO_BYTES = 400_000
_MAX_FETCHES = 16  # that wait or run; each photo in hand has at most 10 MB


@dataclass(frozen=True, slots=True)
class Query:
    """A stored listing whose photos are compared with others: the ids of these photos, and the hashes of their
    boxes."""

    listing: StoredListing
    image_ids: list[str]
    hashes: list[str]


class StoredListings:
    """The store, as the routes read it. Belongs to the event loop's thread.

    `intake` fetches photos of listings where their sellers keep them. Without it there are only thumbnails.
    """

    def __init__(self, store: Store, manifest: Manifest, threads: Threads, intake: Intake | None = None) -> None:
        self._store, self._manifest, self._threads, self._intake = store, manifest, threads, intake
        self._fetching = Slots(_MAX_FETCHES, _MAX_FETCHES, "photos of listings are being fetched already")

    async def get(self, listing_id: str) -> StoredListing:
        """The listing as it was stored last.

        Raises:
            Problem: 404 if the store does not know the listing, 410 if it was removed.
        """
        found = (await self.get_many([listing_id])).get(listing_id)
        if found is None:
            raise Problem(404, "no-such-listing", f"listing_id: {listing_id} is not stored; submit it first")
        if isinstance(found, RemovalMarker):
            detail = f"listing_id: {listing_id} was removed (event time {found.event_time}); submit it again"
            raise Problem(410, "removed", detail)
        return found

    async def get_many(
        self, listing_ids: Sequence[str], model_version: str | None = None
    ) -> dict[str, StoredListing | RemovalMarker]:
        """The listings that the store knows, by id; `model_version` asks for the rows of one model."""
        return await self._threads.read(lambda: self._store.get(listing_ids, model_version))

    async def products_of(self, listing_ids: Sequence[str]) -> Mapping[str, str]:
        """Listing → id of its product, for those that have one."""
        return await self._threads.read(lambda: self._store.products_of(list(listing_ids)))

    async def thumbnail(self, listing_id: str, image_id: str) -> bytes | None:
        """The bytes of a photo's thumbnail, as the store has them; None if there is none."""
        return await self._threads.read(lambda: self._store.thumbnail(listing_id, image_id))

    async def photo(self, listing_id: str, image_id: str) -> bytes:
        """The WebP bytes of a photo, fetched from where the listing's event has it, at most PHOTO_SIDE pixels on the
        longer side, without metadata.

        Raises:
            Problem: 404 or 410 as in `get`; 404 if the listing has no such photo, or it cannot be fetched now; 503 if
                too many are being fetched.
        """
        listing, intake = await self.get(listing_id), self._intake
        ref = next((ref for ref in listing.event.images if ref.image_id == image_id), None)
        if ref is None:
            raise Problem(404, "no-such-photo", f"image_id: {listing_id} has no photo {image_id}")
        if intake is None:
            raise Problem(
                404, "photo-not-fetched", "photos are not fetched here (search.fetch_threads); use /v1/thumbnail"
            )
        with self._fetching.held(""):
            try:
                return await self._threads.fetch(
                    lambda: thumbnail(intake.fetch(ref), PHOTO_SIDE, max_bytes=_PHOTO_BYTES)
                )
            except (Invalid, Transient) as error:  # its message may name an address that only the seller should see
                text = (
                    f"image_id: photo {image_id} of {listing_id} cannot be had now ({error.error}); use /v1/thumbnail"
                )
                raise Problem(404, "photo-not-fetched", text) from None

    async def query(self, listing_id: str, image_id: str | None) -> Query:
        """A stored listing to search with: one of its photos, or all of them.

        Raises:
            Problem: 404 or 410 as in `get`; 404 if it has no such photo; 409 if it has no hashes of this epoch.
        """
        listing = await self.get(listing_id)
        if listing.epoch != self._manifest.epoch:  # another model stored it last; rows of this model may exist too
            mine = (await self.get_many([listing_id], self._manifest.model_version)).get(listing_id)
            if not isinstance(mine, StoredListing) or mine.epoch != self._manifest.epoch:
                detail = f"listing_id: {listing_id} has no hashes of epoch {self._manifest.epoch}; back-fill it"
                raise Problem(409, "other-epoch", detail)
            listing = mine
        rows = [row for row in listing.images if image_id in (None, row.image_id)]
        if not rows:
            none = "has no photos" if listing.summary.status == "empty" else "has no photo that could be used"
            what = f"no photo {image_id} of {listing_id}" if image_id else f"{listing_id} {none}"
            raise Problem(404, "no-such-photo", f"image_id: {what}; see its listing for those there are")
        image_ids = list(dict.fromkeys(row.image_id for row in rows))
        return Query(listing, image_ids, [row.hash for row in _first_boxes(rows)])


def _first_boxes(rows: Sequence[ImageRow]) -> list[ImageRow]:
    """At most MAX_HASHES rows: the most confident box of each photo, then the next box of each, and so on."""
    if len(rows) <= MAX_HASHES:
        return list(rows)
    ranked = [(place, row) for boxes in by_photo(rows).values() for place, row in enumerate(boxes)]
    return [row for _, row in sorted(ranked, key=lambda one: one[0])[:MAX_HASHES]]
