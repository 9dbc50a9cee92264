"""What the service answers, as typed shapes; `openapi.py` describes them from these very types."""

from __future__ import annotations

import msgspec

from schemas.predictions import BadImage, Status


class NamedPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """A label with its display name and calibrated probability; `offered` where the operating threshold is reached."""

    label: str
    name: str
    probability: float
    offered: bool


NamedPredictions = dict[str, list[NamedPrediction]]


class Similar(msgspec.Struct, frozen=True, kw_only=True):
    """A listing, by its photo that is nearest to the query; `distance` counts the bits of 256 that differ."""

    listing_id: str
    image_id: str
    distance: int
    title: str | None
    category: str | None
    tags: list[str]
    thumbnail: str


class SearchAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /v1/search`: what the photo shows, and the listings that look like it, nearest first."""

    model_version: str
    epoch: str
    hash: str
    predictions: NamedPredictions
    neighbours: list[Similar]
    stale: bool
    took_s: float


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """Times are UTC microseconds; null where they are not known any more (`searchable`: the index cannot be asked)."""

    event_time: int
    uploaded_at: int | None
    stored_at: int
    indexed_at: int | None
    searchable: bool | None
    upload_to_stored_s: float | None
    upload_to_searchable_s: float | None


class ImageAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One good photo of a listing."""

    image_id: str
    hash: str
    predictions: NamedPredictions
    thumbnail: str


class ListingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/listings/{listing_id}`: the stored summary, its photos, and how fresh it is."""

    listing_id: str
    event_id: str
    title: str | None
    category: str | None
    state: str
    status: Status
    model_version: str
    epoch: str
    predictions: NamedPredictions
    images: list[ImageAnswer]
    bad_images: list[BadImage]
    freshness: Freshness


class RecentListing(msgspec.Struct, frozen=True, kw_only=True):
    """A listing of the live strip."""

    listing_id: str
    title: str | None
    tags: list[str]
    thumbnail: str
    freshness: Freshness


class RecentListings(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /v1/recent`: the listings that became searchable last, newest first."""

    listings: list[RecentListing]


class ProblemAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """problem+json (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
