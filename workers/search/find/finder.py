"""Finds listings by hash: asks every indexer, keeps the nearest photo of each listing, and reads the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engines.recognition import Unrounded
from schemas.manifest import Manifest
from schemas.plain_text import plain_or_none
from schemas.predictions import ImageRow, RemovalMarker, StoredListing
from workers.indexer.recent import Recent
from workers.indexer.wire import HeldListing, Neighbour, NeighboursRequest
from workers.search.answers import Freshness, RecentListing, Similar
from workers.search.find import rerank
from workers.search.find.filters import ANY, Filters
from workers.search.find.indexers import Indexers
from workers.search.find.labels.naming import Names, thumbnail_path
from workers.search.find.likeness import HASH_BITS, by_bits, by_cosines, falling
from workers.stores import Store

MAX_PHOTOS = 20  # of one listing; it may have no more
MAX_ASKED = 2_000  # at most so many photos for one hash from an indexer
SPARE = 5  # extra listings to ask for; few are needed, because a removal leaves the index within a second
RERANKED = 50  # nearest listings that are reordered; re-ranking with k1 = 20 needs more than 20
_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """A listing and its nearest photo. `listing` is None if the index has the listing, but the store does not.
    `likeness` is from 0 to 1, and so is `relevance`, how well the listing answers the typed words of a search, if it
    has any."""

    photo: Neighbour
    listing: StoredListing | None
    likeness: float
    relevance: float | None = None
    product: str | None = None
    """The id of its product, if the answer is grouped by product and it has one."""
    offers: int | None = None
    """The number of listings of that product, if it is known."""


def nearest_part(found: Sequence[Sequence[Found]], whole_bits: int, nearer_by: int) -> int:
    """Which part of a photo to answer for: the number of its listings in `found`, in which the whole photo comes last.

    It is the whole photo if a listing is within `whole_bits` of it, or if no other part is nearer to a listing by more
    than `nearer_by` bits. Otherwise it is the part with the nearest listing, of equals the first. Order of listings
    within a part does not matter.
    """
    *boxes, whole = (min((one.photo.distance for one in listings), default=HASH_BITS + 1) for listings in found)
    if not boxes or whole <= max(whole_bits, min(boxes) + nearer_by):
        return len(boxes)
    return boxes.index(min(boxes))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to find: `count` listings that pass `only`, without the listing `without`, within `radius` bits. `grouped`:
    listings of `count` products instead, each with the id of its product."""

    count: int
    without: str | None = None
    only: Filters = ANY
    radius: int = HASH_BITS
    grouped: bool = False


class Finder:
    """Reads the index and the store. Thread-safe. Every call blocks and may raise Transient or EpochMismatch."""

    def __init__(
        self, store: Store, indexers: Indexers, manifest: Manifest, names: Names, *, rescore: bool = True
    ) -> None:
        """`rescore`: order by the embeddings or margins that rows have, not only by their hashes."""
        self._store = store
        self._indexers = indexers
        self._manifest = manifest
        self._names = names
        self._rescore = rescore
        plan = manifest.detection or None
        self._most_boxes = plan.most_boxes if plan is not None else 1

    def find(self, hashes: Sequence[str], wanted: Wanted) -> list[Found]:
        """The listings nearest to any of the hashes (64 hex digits each), the nearest first, each with its nearest
        photo.

        Asks for more photos while there are more and too few listings pass. The index filters first. The store is
        newer, so it decides: listings that were removed or changed in the meantime are left out.
        """
        most = (
            MAX_ASKED
            if wanted.only or wanted.grouped
            else min(MAX_ASKED, (wanted.count + 1) * MAX_PHOTOS * self._most_boxes)
        )
        ask = min((wanted.count + SPARE) * 2, most)
        stored: dict[str, StoredListing | RemovalMarker] = {}
        while True:
            query = NeighboursRequest(
                hashes=list(hashes),
                k=ask,
                epoch=self._manifest.epoch,
                radius=wanted.radius if wanted.radius < HASH_BITS else None,
                categories=sorted(wanted.only.categories) or None,
                states=sorted(wanted.only.states) or None,
            )
            photos = self._indexers.neighbours(query)
            found = self._chosen(photos, wanted, stored)
            exhausted = len(photos) < ask or photos[-1].distance > wanted.radius
            if wanted.grouped:
                found = self._with_products(found, wanted.count)
            enough = len(one_each(found)) if wanted.grouped else len(found)
            if enough >= wanted.count or exhausted or ask >= most:
                return found if wanted.grouped else found[: wanted.count]
            ask = min(ask * 2, most)

    def _chosen(
        self, photos: Sequence[Neighbour], wanted: Wanted, stored: dict[str, StoredListing | RemovalMarker]
    ) -> list[Found]:
        """One photo for each listing that passes. `stored` caches what was read from the store."""
        nearest: dict[str, Neighbour] = {}
        for photo in photos:
            if photo.distance <= wanted.radius and photo.listing_id != wanted.without:
                nearest.setdefault(photo.listing_id, photo)
        chosen = list(nearest.values())[: None if wanted.only or wanted.grouped else wanted.count + SPARE]
        unread = [photo.listing_id for photo in chosen if photo.listing_id not in stored]
        if unread:
            stored.update(self._store.get(unread))
        found = []
        for photo in chosen:
            listing = stored.get(photo.listing_id)
            if not isinstance(listing, RemovalMarker) and _passes(listing, wanted.only):
                found.append(Found(photo, listing, by_bits(photo.distance)))
        return found

    def _with_products(self, found: Sequence[Found], count: int) -> list[Found]:
        """The listings with the ids of their products, up to and including those of the first `count` products."""
        products = self._store.products_of([one.photo.listing_id for one in found])
        named = [replace(one, product=products.get(one.photo.listing_id)) for one in found]
        kept = {id(one) for one in one_each(named)[:count]}
        last = max((place for place, one in enumerate(named) if id(one) in kept), default=-1)
        return named[: last + 1]

    def ordered(
        self,
        hashes: Sequence[str],
        found: Sequence[Found],
        k: int,
        *,
        reranked: bool,
        photo: Unrounded | None = None,
    ) -> list[Found]:
        """The first k listings in the order of the answer: re-ranked; else by what the photo was before its hash was
        rounded, if `photo` is given; else by distance. Their likeness falls in this order."""
        if reranked:
            chosen = self.reranked(hashes, found)
        else:
            chosen = list(found) if photo is None else self.refined(photo, found)
        values = falling([one.likeness for one in chosen])
        return [replace(one, likeness=value) for one, value in zip(chosen[:k], values, strict=False)]

    def refined(self, photo: Unrounded, found: Sequence[Found]) -> list[Found]:
        """The listings, those most like the photo first, with their likeness (`_alike`). A listing whose row the store
        does not know keeps its place."""
        rows = {place: row for place, one in enumerate(found) if (row := self._row(one)) is not None}
        refined = list(found)
        if rows:
            alike = self._alike(photo, list(rows.values()))
            order = np.argsort(-alike, kind="stable")
            shown = by_cosines(alike)
            coded = [replace(found[place], likeness=shown[i]) for i, place in enumerate(rows)]
            for place, i in zip(rows, order, strict=True):
                refined[place] = coded[i]
        return refined

    def _alike(self, photo: Unrounded, rows: Sequence[ImageRow]) -> NDArray[np.float32]:
        """How alike a photo is to some rows, float32 [n]. Only if all of them have an embedding, it is by the most
        exact order; else all are compared by margins, known or estimated, because one order needs one scale."""
        exact = [i for i, row in enumerate(rows) if row.embedding is not None] if self._rescore else []
        if len(exact) == len(rows):
            return photo.to_embeddings(_numbers([row.embedding for row in rows]))
        packed = np.frombuffer(bytes.fromhex("".join(row.hash for row in rows)), np.uint8)
        alike = photo.to_hashes(packed.reshape(len(rows), -1))
        if exact:
            alike[exact] = photo.to_margins_of(_numbers([rows[i].embedding for i in exact]))
        near = [i for i, row in enumerate(rows) if row.embedding is None and row.margins is not None]
        if near and self._rescore:
            alike[near] = photo.to_margins(_numbers([rows[i].margins for i in near]))
        return alike

    def reranked(self, hashes: Sequence[str], found: Sequence[Found]) -> list[Found]:
        """The listings, ordered by k-reciprocal re-ranking. A listing whose hash the store does not know goes to the
        end. The likeness stays that of the hashes."""
        coded = [(one, bytes.fromhex(row.hash)) for one in found if (row := self._row(one)) is not None]
        if len(coded) < 2:
            return list(found)
        codes = np.frombuffer(b"".join([bytes.fromhex(hashes[0]), *(code for _, code in coded)]), np.uint8)
        distances = rerank.hamming(codes.reshape(len(coded) + 1, -1))
        distances[0, 1:] = distances[1:, 0] = [one.photo.distance for one, _ in coded]
        order = np.argsort(rerank.k_reciprocal(distances), kind="stable")
        known = {one.photo.listing_id for one, _ in coded}
        return [coded[i][0] for i in order] + [one for one in found if one.photo.listing_id not in known]

    def _row(self, found: Found) -> ImageRow | None:
        """The row of the photo that was found; None if the store does not have it in this epoch."""
        if found.listing is None or found.listing.epoch != self._manifest.epoch:
            return None
        place = found.photo.image_id, found.photo.box
        return next((row for row in found.listing.images if (row.image_id, row.box) == place), None)

    def shown(self, found: Sequence[Found], language: str) -> list[Similar]:
        """The listings as the answer shows them."""
        return [self._similar(one, language) for one in found]

    def with_offers(self, found: Sequence[Found], shown: Sequence[Found]) -> list[Found]:
        """The listings with the number of offers of their products, as far as these are among those of `shown`."""
        products = {one.product for one in shown if one.product is not None}
        counts = {product: len(self._store.members(product)) for product in sorted(products)}
        return [replace(one, offers=counts.get(one.product or "")) for one in found]

    def _similar(self, found: Found, language: str) -> Similar:
        photo, listing = found.photo, found.listing
        return Similar(
            listing_id=photo.listing_id,
            image_id=photo.image_id,
            box=photo.box,
            distance=photo.distance,
            likeness=found.likeness,
            relevance=found.relevance,
            title=None if listing is None else plain_or_none(listing.event.title),
            category=None if listing is None else plain_or_none(listing.event.category),
            price=None if listing is None else listing.event.price,
            tags=[] if listing is None else self._tags(listing, language),
            thumbnail=thumbnail_path(photo.listing_id, photo.image_id),
            product=found.product,
            offers=found.offers,
        )

    def _tags(self, listing: StoredListing, language: str) -> list[str]:
        return self._names.tags(listing.summary.predictions, language, listing.summary.applies)

    def recent(self, n: int, language: str) -> list[RecentListing]:
        """The n listings that became searchable last and are still stored, the newest first."""
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
            title=plain_or_none(listing.event.title),
            tags=self._tags(listing, language),
            thumbnail=thumbnail_path(listing.listing_id, listing.images[0].image_id),
            freshness=freshness(listing, entry, searchable=True),
        )


def _numbers(kept: Sequence[bytes | None]) -> NDArray[np.int8]:
    """What rows of one epoch keep in eight bits, int8 [n, d]."""
    return np.frombuffer(b"".join(one or b"" for one in kept), np.int8).reshape(len(kept), -1)


def one_each(found: Sequence[Found]) -> list[Found]:
    """The first listing of each product, in their order. A listing without a product stands for itself."""
    first: dict[str, Found] = {}
    for one in found:
        first.setdefault(one.product or f"listing {one.photo.listing_id}", one)
    return list(first.values())


def _passes(listing: StoredListing | None, only: Filters) -> bool:
    if not only:
        return True
    return listing is not None and only.pass_(listing.event.category, listing.event.state)


def freshness(listing: StoredListing, known: Recent | HeldListing | None, *, searchable: bool | None) -> Freshness:
    """When a listing was uploaded, stored and indexed.

    Times of another event are ignored. So is an upload time after the first storing, because it is the time of a
    replay.
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
